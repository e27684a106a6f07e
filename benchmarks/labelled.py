"""The labelled data sets, and the parts of them that methods may use."""

from __future__ import annotations

import os
from pathlib import Path

import anndata

SETS_WITH_BATCHES = ("sc_mixology_5cl",)
"""Sets whose batches are given to the methods; means are taken over the other sets.

snareseq_mop_10k also has a column "batch". No method gets it, so this set is one of the eight
without batches to remove.
"""
LABELS_FROM_CLUSTERS = ("malaria_pb", "pbmc3k", "pbmc4k_top2000")
"""Sets whose labels are clusters of the same counts.

MANIFEST.tsv of the data calls the labels of these three "clustering-derived": each type is one
cluster of a published clustering. The labels of the other sets are annotations by their authors.
Most of these annotations also started from clusters. The exceptions are sc_mixology_5cl, whose
labels come from genotypes, and in part cite_cbmc_top2000, whose labels also use surface proteins.
"""


def labelled_sets(names: str = "") -> list[Path]:
    """Return the files of the labelled sets: all, or those in the comma-separated `names`."""
    folder = os.environ.get("BGFORMER_DATA")
    if not folder:
        raise SystemExit("set BGFORMER_DATA to the folder with the labelled .h5ad files.")
    found = sorted(Path(folder).glob("*.h5ad"))
    paths = [path for path in found if not names or path.stem in names.split(",")]
    if not paths:
        raise SystemExit(f"no such .h5ad files in '{folder}', which BGFORMER_DATA names.")
    return paths


def without_labels(full: anndata.AnnData, name: str) -> anndata.AnnData:
    """Return the counts of a set, and its batches if it is in `SETS_WITH_BATCHES`."""
    columns = ["batch"] if name in SETS_WITH_BATCHES else []
    return anndata.AnnData(full.X, obs=full.obs[columns], var=full.var[[]])
