"""Draw blood cells: a dot plot of marker genes in each cluster, and a UMAP of the cells.

    python benchmarks/markers.py

Clusters the set pbmc3k with the defaults and writes pbmc3k-markers.png and pbmc3k-umap.png to
docs/images. BGFORMER_DATA must be set as in accuracy.py. markers.R draws the same from R.
"""

from __future__ import annotations

import anndata
import matplotlib as mpl
from accuracy import PAGE
from labelled import labelled_sets

import bgformer as bgf

IMAGES = PAGE.parent / "images"
# textbook markers of the cell types in this set, from Seurat's tutorial on it
MARKERS = {
    "CD4 T": ["IL7R", "CCR7", "S100A4"],
    "CD14+ Mono": ["CD14", "LYZ"],
    "B": ["MS4A1"],
    "CD8 T": ["CD8A"],
    "FCGR3A+ Mono": ["FCGR3A", "MS4A7"],
    "NK": ["GNLY", "NKG7"],
    "DC": ["FCER1A", "CST3"],
    "Platelet": ["PPBP"],
}


def main() -> None:
    """Cluster and draw."""
    mpl.use("agg")
    (path,) = labelled_sets("pbmc3k")
    adata = anndata.read_h5ad(path)
    bgf.tl.cluster(adata, verbose=False)
    bgf.pl.markers(adata, MARKERS, save=IMAGES / "pbmc3k-markers.png")
    bgf.pl.embedding(adata, color=["bgformer", "cell_type"], save=IMAGES / "pbmc3k-umap.png")


if __name__ == "__main__":
    main()
