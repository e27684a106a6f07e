"""Several processes at one task: one answer, in one file, and an end when one of them dies."""

import os
import socket
import subprocess
import sys

import anndata
import numpy as np
import pytest

# As `python -m bgformer`, but with blocks and samples small enough for some hundred cells.
SMALL = """
import sys
from bgformer.data import sample
from bgformer.runtime import block_sizes
sample.LEAST, block_sizes.PLACED, block_sizes.COUNTS = 0, 128, 64
from bgformer.cli import main
sys.exit(main(sys.argv[1:]))
"""
# 2 steps of 256 cells see fewer cells than there are
FEW = ["--max-steps", "2", "--seed", "5"]


@pytest.fixture
def cells_file(pbmc700, tmp_path):
    pbmc700.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def port():
    """Return a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def start(cells_file, environment, port):
    """Start one rank of as many as said, with the variables that torchrun sets."""
    started = []

    def run(rank, ranks, *arguments):
        variables = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", SMALL, "cluster", str(cells_file), *arguments]
        process = subprocess.Popen(
            command, env=environment | variables, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_find_what_one_finds(start, tmp_path):
    alone, together = tmp_path / "alone.h5ad", tmp_path / "together.h5ad"
    assert start(0, 1, "-o", str(alone), *FEW).wait(120) == 0
    both = [start(rank, 2, "-o", str(together), *FEW) for rank in range(2)]
    told = [process.communicate(timeout=180)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    one, two = anndata.read_h5ad(alone), anndata.read_h5ad(together)
    assert one.uns["bgformer"]["n_clusters"] > 1
    assert two.obs_names.equals(one.obs_names)
    assert two.obs["bgformer"].equals(one.obs["bgformer"])
    np.testing.assert_allclose(two.obsm["X_bgformer"], one.obsm["X_bgformer"], atol=1e-4)
    assert (abs(two.obsm["bgformer_anchors"] - one.obsm["bgformer_anchors"]) > 1e-5).nnz == 0
    assert "clusters" in told[0]
    assert told[1] == ""  # the first speaks for all


def test_two_machines_with_two_processes_each_find_what_one_process_finds(
    start, cells_file, environment, port, tmp_path
):
    alone, together = tmp_path / "alone.h5ad", tmp_path / "together.h5ad"
    assert start(0, 1, "-o", str(alone), *FEW).wait(120) == 0
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
    torchrun += ["--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = [script, "cluster", cells_file, "-o", together, *FEW]
    machines = [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(node), *command],
            env=environment | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    told = [machine.communicate(timeout=180)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    one, two = anndata.read_h5ad(alone), anndata.read_h5ad(together)
    assert two.obs["bgformer"].equals(one.obs["bgformer"])
    np.testing.assert_allclose(two.obsm["X_bgformer"], one.obsm["X_bgformer"], atol=1e-4)


def test_a_bad_value_is_named_by_the_process_that_reads_it(start, cells_file, pbmc700, tmp_path):
    pbmc700.X.data[pbmc700.X.indptr[690]] = -1
    pbmc700.write_h5ad(cells_file)
    out = tmp_path / "out.h5ad"
    three = [start(rank, 3, "-o", str(out), *FEW) for rank in range(3)]
    told = [process.communicate(timeout=180)[1] for process in three]
    assert [process.returncode for process in three] == [2, 2, 2], told
    assert "negative values" in told[2]
    assert pbmc700.obs_names[690] in told[2]
    assert all("another process of this run died or was stopped" in one for one in told[:2])
    assert os.listdir(tmp_path) == [cells_file.name]


def test_when_one_dies_the_other_ends_and_leaves_nothing(start, cells_file, tmp_path):
    out = tmp_path / "out.h5ad"
    first, second = (start(rank, 2, "-o", str(out), "--max-steps", "300") for rank in range(2))
    assert "anchors" in first.stderr.readline()  # what is said before training
    second.kill()  # while the first trains
    told = first.communicate(timeout=60)[1]
    assert first.returncode == 2
    assert "another process of this run died or was stopped" in told.splitlines()[-1]
    assert os.listdir(tmp_path) == [cells_file.name]
