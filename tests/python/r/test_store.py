"""The folder that R and Python share, and the process that answers it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import bgformer as bgf
from bgformer.data.matrices import CountsError
from bgformer.data.source import source_of
from bgformer.r import bridge, store

SETTINGS = {"max_steps": 3, "seed": 1, "verbose": False, "n_anchors": 20, "n_clusters": 3}


@pytest.fixture
def folder(cells, tmp_path):
    """The first 150 cells, as R writes them."""
    return write(tmp_path, cells)


def write(folder, cells, batch=None, checkpoint=None, **settings):
    counts = cells.X
    counts.data.astype(np.float32).tofile(folder / "data")
    counts.indices.astype(np.int32).tofile(folder / "indices")
    counts.indptr.astype(np.float64).tofile(folder / "indptr")
    (folder / "cells").write_text("".join(f"{name}\n" for name in cells.obs_names), "utf-8")
    codes, names = pd.factorize(np.array([] if batch is None else batch, dtype=object))
    codes.astype(np.int32).tofile(folder / "batch")
    request = {
        "genes": list(cells.var_names),
        "batch_key": None if batch is None else "donor",
        "batches": list(names),
        "arguments": SETTINGS | settings,
        "checkpoint": checkpoint,
    }
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    return folder


def read_array(folder, where):
    kind = {"double": np.float64, "integer": np.int32, "raw": np.uint8}[where["type"]]
    return np.fromfile(folder / where["array"], kind).reshape(where["shape"], order="F")


def test_counts_are_read_a_block_at_a_time(folder, cells, monkeypatch):
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 64)
    stored = store.CellsFromR(folder)
    blocks = dict(source_of(stored).blocks())
    assert list(blocks) == [0, 64, 128]
    for start, block in blocks.items():
        np.testing.assert_array_equal(block.toarray(), cells.X[start : start + 64].toarray())
    assert list(stored.var_names) == list(cells.var_names)
    assert stored.obs_names[77] == cells.obs_names[77]


def test_answer_is_that_of_the_same_cells_in_memory(folder, cells):
    answer = bridge.run_stored(str(folder))
    assert answer["error"] is None
    bgf.tl.cluster(cells, **SETTINGS)
    assert [answer["levels"][code] for code in answer["labels"]] == list(cells.obs["bgformer"])
    np.testing.assert_array_equal(answer["confidence"], cells.obs["bgformer_confidence"])
    np.testing.assert_array_equal(answer["embedding"], cells.obsm["X_bgformer"])
    np.testing.assert_array_equal(answer["anchors"], cells.uns["bgformer"]["anchors"])


def test_batches_are_used(cells, tmp_path):
    cells.obs["donor"] = np.tile(["b", "a", "é"], 50)
    answer = bridge.run_stored(str(write(tmp_path, cells, cells.obs["donor"])))
    bgf.tl.cluster(cells, batch_key="donor", **SETTINGS)
    np.testing.assert_array_equal(answer["embedding"], cells.obsm["X_bgformer"])
    assert answer["params"]["batch_key"] == "donor"


def test_a_value_that_is_no_count_is_named(cells, tmp_path):
    cells.X = cells.X.astype(np.float32)
    cells.X.data[-1] = 0.5
    source = source_of(store.CellsFromR(write(tmp_path, cells)))
    with pytest.raises(CountsError, match=rf"0\.5 in cell '{cells.obs_names[-1]}'"):
        list(source.blocks())


def test_what_is_refused_is_said_in_the_words_of_r(cells, tmp_path):
    for given, said in [
        ({"seed": -1}, "seed.use is -1; it must be a whole number from 0"),
        ({"n_clusters": 5, "resolution": 1.0}, "give resolution or n.clusters, not both"),
        ({"n_anchors": 4, "n_clusters": 5}, "n.clusters is 5, but n_anchors is only 4: "),
        ({"steps": 5}, "RunBGFormer() has no argument 'steps'; further arguments are max_steps"),
    ]:
        assert said in bridge.run_stored(str(write(tmp_path, cells, **given)))["error"]
    batch = np.tile([f"batch {i}" for i in range(50)], 3)
    answer = bridge.run_stored(str(write(tmp_path, cells, batch)))
    assert "batch.var has 50 batches for" in answer["error"]
    assert answer["code"] == "too-many-batches"


def test_answer_is_written_so_that_r_can_read_it(tmp_path):
    grid = np.arange(6, dtype=np.float64).reshape(2, 3)
    answer = {
        "grid": grid,
        "codes": np.array([2, 0], dtype=np.int32),
        "nested": {"none": None, "one": 0.1, "not a number": float("nan"), "names": ["é"]},
        "model": b"\x00\xff",
    }
    store.write_answer(tmp_path, answer)
    written = json.loads((tmp_path / store.ANSWER).read_text("utf-8"))
    np.testing.assert_array_equal(read_array(tmp_path, written["grid"]), grid)
    assert written["grid"]["shape"] == [2, 3]
    assert read_array(tmp_path, written["codes"]).tolist() == [2, 0]
    assert np.isnan(read_array(tmp_path, written["nested"].pop("not a number")))
    assert written["nested"] == {"none": None, "one": 0.1, "names": ["é"]}
    assert read_array(tmp_path, written["model"]).tobytes() == b"\x00\xff"
    assert not list(tmp_path.glob("*.partial"))


def started(folder, environment):
    return subprocess.Popen(
        [sys.executable, "-m", "bgformer.r.process", str(folder)],
        env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_process_answers_without_r(folder, environment):
    with started(folder, environment | {"R_HOME": "/nowhere"}) as process:
        assert (process.wait(timeout=300), process.stderr.read()) == (0, "")
    written = json.loads((folder / store.ANSWER).read_text("utf-8"))
    assert (written["error"], written["warnings"]) == (None, [])
    answer = bridge.run_stored(str(folder))
    np.testing.assert_array_equal(read_array(folder, written["labels"]), answer["labels"])
    np.testing.assert_array_equal(read_array(folder, written["embedding"]), answer["embedding"])


def test_error_is_an_answer(cells, tmp_path, environment):
    with started(write(tmp_path, cells, n_latent=3), environment) as process:
        assert process.wait(timeout=300) == 0
    written = json.loads((tmp_path / store.ANSWER).read_text("utf-8"))
    assert "n_latent is 3" in written["error"]


def test_process_ends_when_r_does(cells, tmp_path, environment):
    folder = write(tmp_path, cells, max_steps=100_000, verbose=True)
    with started(folder, environment) as process:
        assert "150 cells" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(timeout=60) == 1
    assert not folder.exists()


# Ends itself by SIGKILL after two blocks of cells, of which 150 cells have three.
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


def test_a_killed_process_goes_on_to_the_same_answer(
    cells, tmp_path, run_python, environment, monkeypatch
):
    progress = tmp_path / "progress"
    folder = write(tmp_path, cells, checkpoint=str(progress), verbose=True)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, folder], env=environment, stdin=subprocess.PIPE
    ) as process:
        assert process.wait(timeout=300) == -9
    monkeypatch.setattr("bgformer.runtime.block_sizes.PLACED", 64)
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", cells, checkpoint=str(progress), n_latent=8)
    answer = bridge.run_stored(str(other))
    assert f"checkpoint.dir '{progress}' holds the progress of a run with other" in answer["error"]
    with started(folder, environment) as process:
        assert process.wait(timeout=300) == 0
        assert "continuing with 128 of 150 cells placed" in process.stderr.read()
    assert not progress.exists()
    written = json.loads((folder / store.ANSWER).read_text("utf-8"))
    (tmp_path / "whole").mkdir()
    answer = bridge.run_stored(str(write(tmp_path / "whole", cells)))
    np.testing.assert_array_equal(read_array(folder, written["labels"]), answer["labels"])
    np.testing.assert_array_equal(read_array(folder, written["embedding"]), answer["embedding"])


def test_progress_goes_into_a_new_folder_alone(cells, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").touch()
    answer = bridge.run_stored(str(write(tmp_path, cells, checkpoint=str(used))))
    assert f"checkpoint.dir '{used}' exists and does not hold the progress" in answer["error"]
    assert (used / "mine").exists()
