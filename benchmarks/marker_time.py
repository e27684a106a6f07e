"""Time and memory of marker genes with held-out counts, and whether textbook markers are found.

    python benchmarks/marker_time.py [FILE.h5ad ...]

Each file must have counts and results of bgformer. It is read backed, and `bgf.tl.markers` is
called twice; the seconds of both calls and the peak memory so far are printed. Then pbmc3k is
clustered with the defaults, and for each textbook marker, the clusters are printed that have it
among their ten best genes, with its p-value. Data as in accuracy.py.
"""

from __future__ import annotations

import resource
import sys
import time

import anndata
from labelled import labelled_sets

import bgformer as bgf

TEXTBOOK = "MS4A1 CD79A LYZ S100A8 GNLY NKG7 CD8A CD8B FCGR3A FCER1A PPBP PF4".split()


def timed(path: str) -> None:
    """Print how long the markers of a file take."""
    cells, seconds = anndata.read_h5ad(path, backed="r"), []
    for _ in range(2):
        start = time.perf_counter()
        bgf.tl.markers(cells)
        seconds.append(f"{time.perf_counter() - start:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{path}: {cells.n_obs:,} x {cells.n_vars:,}, {', '.join(seconds)}, {peak:.0f} MB")
    cells.file.close()


def main() -> None:
    """Measure, and look for textbook markers."""
    for path in sys.argv[1:]:
        timed(path)
    (path,) = labelled_sets("pbmc3k")
    cells = anndata.read_h5ad(path)
    bgf.tl.cluster(cells, verbose=False)
    bgf.tl.markers(cells)
    found = cells.uns["rank_genes_groups"]
    best = {name: list(found["names"][name][:10]) for name in found["names"].dtype.names}
    for gene in TEXTBOOK:
        there = [name for name in best if gene in best[name]]
        p = {name: found["pvals"][name][best[name].index(gene)] for name in there}
        shown = [f"'{name}' (p = {value:.0e})" for name, value in p.items()]
        print(gene, ", ".join(shown) or "in none")


if __name__ == "__main__":
    main()
