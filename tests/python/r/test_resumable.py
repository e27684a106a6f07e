"""Runs that R started in a process of its own, and that go on after they were killed."""

import signal

import numpy as np
import pytest

from bgformer.r import bridge, process, store
from bgformer.store.checkpoint import Checkpoint

SETTINGS = {"max_steps": 3, "seed": 1, "verbose": True, "n_anchors": 20, "n_clusters": 3}
# Ends itself by SIGKILL after two blocks of cells.
KILLED = """
import os
from bgformer.runtime import block_sizes
from bgformer.store.checkpoint import Checkpoint
block_sizes.PLACED = 64
keep = Checkpoint.keep
def keep_and_end(self, first, *block):
    keep(self, first, *block)
    if first == 64:
        os.kill(os.getpid(), 9)
Checkpoint.keep = keep_and_end
from bgformer.r.process import main
main()
"""


@pytest.fixture
def killed(written_for_r, cells, tmp_path, run_python):
    """The folder of a run that was killed, and the one with its progress."""
    request, progress = tmp_path / "request", tmp_path / "progress"
    request.mkdir()
    written_for_r(request, cells, checkpoint=str(progress), **SETTINGS)
    done = run_python("-c", KILLED, request)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return request, progress
