"""Clusters of real cells at the defaults are those that are stored, so that none changes unseen.

    python tests/python/test_golden.py

writes those of now in their place, for a change that is meant to change clusters.

Processors round in different ways, and after some steps of training a few more cells are on the
other side of a border. So the clusters are computed with the instructions that all processors of
the kind x86-64 have had for ten years.
"""

import os
import platform
import subprocess
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
ROUNDING = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
}


def load(name: str) -> anndata.AnnData:
    """Return cells with raw counts: those of the demo, or of a file in the benchmarks' folder."""
    if name == "pbmc700":
        from pbmc700 import load_pbmc700

        return load_pbmc700()
    full = anndata.read_h5ad(Path(os.environ["BGFORMER_DATA"]) / f"{name}.h5ad")
    return anndata.AnnData(sparse.csr_matrix(full.X), obs=full.obs[[]], var=full.var[[]])


def write_clusters(name: str, path: Path) -> None:
    """Write the cluster of each cell at the defaults."""
    cells = load(name)
    bgf.tl.cluster(cells, verbose=False)
    np.savetxt(path, cells.obs["bgformer"].astype(int), fmt="%d", newline=" ")


def compute(name: str, path: Path) -> None:
    """Run `write_clusters` in a process that rounds as all do."""
    known = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | ROUNDING | {"PYTHONPATH": known}
    subprocess.run([sys.executable, __file__, name, path], env=environment, check=True)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors round otherwise")
@pytest.mark.parametrize("name", SETS)
def test_clusters_are_those_that_are_stored(name, tmp_path):
    folder = os.environ.get("BGFORMER_DATA")
    if name != "pbmc700" and not (folder and Path(folder, f"{name}.h5ad").exists()):
        pytest.skip(f"no {name}.h5ad in the folder that BGFORMER_DATA names")
    compute(name, tmp_path / "now.txt")
    stored, now = (
        np.loadtxt(path, dtype=int) for path in (STORED / f"{name}.txt", tmp_path / "now.txt")
    )
    assert adjusted_rand_score(stored, now) >= 0.99


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_clusters(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))
        for each in SETS:
            compute(each, STORED / f"{each}.txt")
