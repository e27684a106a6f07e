"""The labelled sets, and what of them the methods may see."""

from __future__ import annotations

import os
from pathlib import Path

import anndata

SETS_WITH_BATCHES = ("sc_mixology_5cl",)
"""Sets whose batches are given to the methods; means are taken over the other sets.

snareseq_mop_10k has a column "batch" too. No method gets it, so this set counts among the eight
without batches to remove.
"""
LABELS_FROM_CLUSTERS = ("malaria_pb", "pbmc3k", "pbmc4k_top2000")
"""Sets whose labels are clusters of these very counts.

The data's MANIFEST.tsv calls the labels of these three "clustering-derived": each type is one
cluster of a published clustering. The labels of the other sets are their authors' annotation.
That annotation started from clusters too, except in sc_mixology_5cl, whose labels come from
genotypes, and in part in cite_cbmc_top2000, where surface proteins had a say.
"""


def labelled_sets(names: str = "") -> list[Path]:
    """Return the files of the labelled sets; `names`, comma-separated, picks some."""
    folder = os.environ.get("BGFORMER_DATA")
    if not folder:
        raise SystemExit("set BGFORMER_DATA to the folder with the labelled .h5ad files.")
    found = sorted(Path(folder).glob("*.h5ad"))
    paths = [path for path in found if not names or path.stem in names.split(",")]
    if not paths:
        raise SystemExit(f"no such .h5ad files in '{folder}', which BGFORMER_DATA names.")
    return paths


def without_labels(full: anndata.AnnData, name: str) -> anndata.AnnData:
    """Return the counts of a set and, if it is one with batches, these."""
    columns = ["batch"] if name in SETS_WITH_BATCHES else []
    return anndata.AnnData(full.X, obs=full.obs[columns], var=full.var[[]])
