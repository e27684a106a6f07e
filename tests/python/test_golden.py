"""Clusters of real cells at the defaults are those that are stored, so that none changes unseen.

    python tests/python/test_golden.py

writes those of now in their place, for a change that is meant to change clusters.
"""

import os
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import bgformer as bgf

STORED = Path(__file__).parent / "golden"
SETS = ("pbmc700", "pbmc3k")


def load(name: str) -> anndata.AnnData:
    """Return cells with raw counts: those of the demo, or of a file in the benchmarks' folder."""
    if name == "pbmc700":
        from pbmc700 import load_pbmc700

        return load_pbmc700()
    path = Path(os.environ.get("BGFORMER_DATA", "")) / f"{name}.h5ad"
    if "BGFORMER_DATA" not in os.environ or not path.exists():
        pytest.skip(f"no {name}.h5ad in the folder that BGFORMER_DATA names")
    full = anndata.read_h5ad(path)
    return anndata.AnnData(sparse.csr_matrix(full.X), obs=full.obs[[]], var=full.var[[]])


def clusters(name: str) -> np.ndarray:
    """Return the cluster of each cell at the defaults."""
    cells = load(name)
    bgf.tl.cluster(cells, verbose=False)
    return cells.obs["bgformer"].astype(int).to_numpy()


@pytest.mark.parametrize("name", SETS)
def test_clusters_are_those_that_are_stored(name):
    stored = np.loadtxt(STORED / f"{name}.txt", dtype=int)
    assert adjusted_rand_score(stored, clusters(name)) >= 0.99


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))
    for each in SETS:
        np.savetxt(STORED / f"{each}.txt", clusters(each), fmt="%d", newline=" ")
