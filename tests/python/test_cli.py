"""The command: what it writes, how it refuses, and what an interrupted run leaves behind."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.cli import main

# Writes in full and then lingers, as a large file does on a slow disk.
LINGERING_WRITE = """
import sys, time
from bgformer.store import files
write = files.StoredResults.describe
def lingering(self, *results):
    write(self, *results)
    print("written", flush=True)
    time.sleep(120)
files.StoredResults.describe = lingering
from bgformer.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def cells_file(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.h5ad"


def fails(capsys, *arguments):
    """Run a command that must fail and return its one line."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stopped:  # how argparse leaves
        status = stopped.code
    told = capsys.readouterr()
    assert status == 2
    assert told.out == ""
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    assert lines[0].startswith("bgformer: error: ")
    assert lines[0].endswith(".")
    return lines[0]


def test_clustering_a_file_is_clustering_in_python(cells, cells_file, out, capsys):
    status = main(["cluster", str(cells_file), "-o", str(out), "--max-steps", "6", "--seed", "3"])
    assert status == 0
    assert "bgformer: step 6/6" in capsys.readouterr().err
    found = anndata.read_h5ad(out)
    bgf.tl.cluster(cells, max_steps=6, seed=3, verbose=False)
    pd.testing.assert_frame_equal(found.obs, cells.obs)
    np.testing.assert_array_equal(found.obsm["X_bgformer"], cells.obsm["X_bgformer"])
    assert found.uns["bgformer"]["params"] == cells.uns["bgformer"]["params"]
    assert sorted(p.name for p in out.parent.iterdir()) == ["cells.h5ad", "out.h5ad"]


@pytest.fixture
def from_a_sample(monkeypatch):
    """A training on some of the 150 cells, and results that come in several blocks."""
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 32)
    monkeypatch.setattr("bgformer.data.sample.LEAST", 64)
    monkeypatch.setattr("bgformer.fit.schedule.Schedule.batch_size", 8)
    monkeypatch.setattr("bgformer.runtime.block_sizes.PLACED", 64)
    monkeypatch.setattr("bgformer.runtime.block_sizes.WEIGHTS", 64)


@pytest.fixture
def full(cells):
    """Cells with something in every place of an AnnData."""
    cells.layers["log"] = cells.X.astype(np.float64).log1p()
    cells.raw = cells[:, :20].copy()
    cells.obs["donor"] = pd.Categorical(np.where(np.arange(cells.n_obs) % 2, "a", "b"))
    cells.obsm["X_pca"] = np.ones((cells.n_obs, 3))
    cells.obsp["near"] = sparse.identity(cells.n_obs, format="csr")
    cells.uns["note"] = {"of": "the user"}
    return cells


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_results_written_in_blocks_are_those_of_memory(full, from_a_sample, tmp_path, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    write, read = {
        ".h5ad": (anndata.AnnData.write_h5ad, anndata.read_h5ad),
        ".zarr": (anndata.AnnData.write_zarr, anndata.read_zarr),
    }[suffix]
    before, after = tmp_path / f"cells{suffix}", tmp_path / f"out{suffix}"
    write(full, before)
    options = "--n-clusters 4 --batch-key donor --max-steps 6 --seed 3 --quiet --force"
    model = tmp_path / "model"
    for given in (before, after):  # and once more, over results that are there
        command = ["cluster", str(given), "-o", str(after), "--save-model", str(model)]
        assert main([*command, *options.split()]) == 0
    bgf.tl.cluster(
        full, n_clusters=4, batch_key="donor", max_steps=6, seed=3, verbose=False, device="auto"
    )
    check_same(read(after), full)

    new = tmp_path / f"new{suffix}"
    assert main(["predict", str(model), str(before), "-o", str(new), "--quiet"]) == 0
    loaded = bgf.BGFormer.load(model)
    np.testing.assert_array_equal(loaded.latent_, full.obsm["X_bgformer"])
    found = read(new)
    expected = bgf.tl.predict(full, loaded, copy=True)
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    np.testing.assert_array_equal(found.obsm["X_bgformer"], loaded.embed(full))
    again = tmp_path / f"again{suffix}"
    assert main(["cluster", str(new), "-o", str(again), *options.split()]) == 0
    assert "bgformer_outlier" not in read(again).obs  # a score of other results
    (rmtree if suffix == ".zarr" else Path.unlink)(again)
    bgf.tl.recluster(found, n_clusters=3)  # predicted cells have all results
    assert found.uns["note"] == full.uns["note"]
    left = {before.name, after.name, new.name, "model"}
    assert {path.name for path in tmp_path.iterdir()} == left


def check_same(found, expected):
    """Check that two AnnData hold the same, part by part."""
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    pd.testing.assert_frame_equal(found.var, expected.var)
    assert (found.X != expected.X).nnz == (found.raw.X != expected.raw.X).nnz == 0
    assert set(found.obsm) == {"X_pca", "X_bgformer", "bgformer_anchors"}
    for name in ("X_pca", "X_bgformer"):
        np.testing.assert_array_equal(found.obsm[name], expected.obsm[name])
        assert found.obsm[name].dtype == expected.obsm[name].dtype
    assert (found.obsm["bgformer_anchors"] != expected.obsm["bgformer_anchors"]).nnz == 0
    assert (found.layers["log"] != expected.layers["log"]).nnz == 0
    assert (found.obsp["near"] != expected.obsp["near"]).nnz == 0
    assert found.uns["note"] == expected.uns["note"]
    results, known = found.uns["bgformer"], expected.uns["bgformer"]
    assert set(results) == set(known)
    assert results["params"] == known["params"]
    for name in ("anchors", "anchor_clusters", "genes", "seed", "n_clusters"):
        np.testing.assert_array_equal(results[name], known[name])
    for name, values in known["history"].items():
        np.testing.assert_array_equal(results["history"][name], values)


def test_a_zarr_store_is_written_for_a_zarr_store(cells, tmp_path, out, capsys):
    message = "must be named .zarr, the format that is written"
    assert message in fails(capsys, "cluster", tmp_path / "cells.zarr", "-o", out)
    assert "there is no file" in fails(
        capsys, "cluster", tmp_path / "cells.zarr", "-o", tmp_path / "out.zarr"
    )


@pytest.mark.parametrize("asked", [{"n_clusters": 4}, {"resolution": 1.5}])
def test_every_option_reaches_the_model(cells, tmp_path, out, capsys, asked):
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.astype(float).log1p()
    cells.obs["donor"] = np.where(np.arange(cells.n_obs) % 2, "a", "b")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    options = "".join(f"--{name.replace('_', '-')} {value} " for name, value in asked.items()) + (
        "--batch-key donor --layer counts --seed 5 "
        "--n-top-genes 100 --n-anchors 60 --min-cells 5 --max-steps 5 --device cpu --quiet"
    )
    assert main(["cluster", str(tmp_path / "cells.h5ad"), "-o", str(out), *options.split()]) == 0
    assert capsys.readouterr() == ("", "")
    found = anndata.read_h5ad(out)
    params = found.uns["bgformer"]["params"]
    expected = asked | {
        "batch_key": "donor",
        "layer": "counts",
        "seed": 5,
        "n_top_genes": 100,
        "n_anchors": 60,
        "min_cells": 5,
        "max_steps": 5,
        "device": "cpu",
    }
    assert {name: params[name] for name in expected} == expected
    n_clusters = found.uns["bgformer"]["n_clusters"]
    assert found.obs["bgformer"].nunique() == n_clusters == asked.get("n_clusters", n_clusters)
    assert len(found.uns["bgformer"]["genes"]) == 100


def test_a_saved_model_labels_cells_and_tells_what_it_is(cells, cells_file, out, tmp_path, capsys):
    model = tmp_path / "model"
    command = ["cluster", str(cells_file), "-o", str(out), "--max-steps", "6", "--quiet"]
    assert main([*command, "--save-model", str(model)]) == 0
    labelled = tmp_path / "labelled.h5ad"
    assert main(["predict", str(model), str(cells_file), "-o", str(labelled)]) == 0
    clustered, predicted = anndata.read_h5ad(out), anndata.read_h5ad(labelled)
    pd.testing.assert_frame_equal(predicted.obs.drop(columns="bgformer_outlier"), clustered.obs)
    np.testing.assert_allclose(
        predicted.obsm["X_bgformer"], clustered.obsm["X_bgformer"], atol=1e-6
    )
    k = clustered.obs["bgformer"].nunique()
    assert capsys.readouterr().err == f"bgformer: 150 cells in {k} of {k} clusters\n"

    assert main(["info", str(model)]) == 0
    told = capsys.readouterr().out
    assert f"a model of bgformer {bgf.__version__}" in told
    assert f"clusters: {k}, from 60 anchors" in told
    assert "objective: self_supervised 0.3, commitment 0.1" in told
    assert "batches" not in told
    assert main(["info", str(out)]) == 0
    told = capsys.readouterr().out
    assert "150 cells x 765 genes" in told
    sizes = clustered.obs["bgformer"].value_counts(sort=False)
    assert f"{k} clusters of {', '.join(map(str, sizes))} cells" in told


def test_info_tells_which_results_are_damaged(clustered, out, capsys):
    clustered.uns["bgformer"]["resolution"] = -1.0
    clustered.write_h5ad(out)
    assert main(["info", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("results 'bgformer' of bgformer: damaged (resolution is -1.0; ")


def test_info_tells_versions_and_device(capsys):
    import torch

    assert main(["info"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert f"bgformer {bgf.__version__}" in told
    version = torch.__version__.partition("+")[0]  # only one of the two names the build
    assert any(line.startswith(f"torch {version}") for line in told)
    assert told[-1].split()[0] == "device"


def test_new_cells_that_lack_genes_are_warned_of_in_one_line(cells, model, out, tmp_path, capsys):
    model.save(tmp_path / "model")
    cells[:, 50:].write_h5ad(tmp_path / "part.h5ad")
    command = ["predict", tmp_path / "model", tmp_path / "part.h5ad", "-o", out, "--quiet"]
    assert main([str(word) for word in command]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("bgformer: warning: 50 of the model's ")


def test_what_cannot_be_used_is_one_line_and_status_2(cells, cells_file, out, tmp_path, capsys):
    cells.X = cells.X.astype(float).log1p()
    cells.write_h5ad(tmp_path / "log.h5ad")
    (tmp_path / "broken.h5ad").write_bytes(b"nothing")
    (tmp_path / "folder").mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())
    go = ["--max-steps", "3", "--quiet"]
    for arguments, message in [
        (["cluster", tmp_path / "no.h5ad", "-o", out], "there is no file"),
        (
            ["cluster", tmp_path / "log.h5ad", "-o", out],
            "X holds values that are not whole numbers",
        ),
        (["cluster", tmp_path / "broken.h5ad", "-o", out], "cannot be read as an .h5ad file"),
        (["cluster", tmp_path / "folder", "-o", out], "has no matrix.mtx"),
        (
            ["cluster", cells_file, "-o", out, "--layer", "raw"],
            "layer 'raw' is not in the input's layers",
        ),
        (["cluster", cells_file, "-o", out, "--batch-key", "donor"], "--batch-key 'donor' is not"),
        (["cluster", cells_file, "-o", out, "--n-clusters", "151"], "--n-clusters is 151, but"),
        (
            ["cluster", cells_file, "-o", out, "--n-clusters", "x"],
            "'x' is neither a number nor auto",
        ),
        (["cluster", cells_file, "-o", out, "--resolution", "0"], "resolution is 0.0; it must be"),
        (["cluster", cells_file, "-o", out, "--device", "cuda:99"], "finds none on this machine"),
        (["cluster", cells_file, "-o", tmp_path / "out.txt"], "must be named .h5ad"),
        (["cluster", cells_file, "-o", tmp_path / "no" / "out.h5ad"], "there is no folder"),
        (["cluster", cells_file, "-o", "/proc/out.h5ad"], "nothing can be written in '/proc'"),
        (["cluster", cells_file, "-o", cells_file], "exists; give another name, or --force"),
        (
            ["cluster", cells_file, "-o", out, "--save-model", tmp_path / "folder"],
            "folder' exists",
        ),
        (
            ["cluster", cells_file, "-o", out, "--force", "--save-model", tmp_path / "folder"],
            "folder' exists and is not a saved model",
        ),
    ]:
        assert message in fails(capsys, *arguments, *go)
    assert "there is no saved model in" in fails(
        capsys, "predict", tmp_path / "folder", cells_file, "-o", out
    )
    assert "there is no file" in fails(capsys, "info", tmp_path / "no.h5ad")
    assert "required: cluster | predict | recluster | markers | report | info" in fails(capsys)
    assert "the input or the output is missing" in fails(capsys, "cluster", cells_file)
    assert "invalid choice: 'cut'" in fails(capsys, "cut", cells_file)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_options_are_named_as_they_are_given_and_names_of_the_user_stay(
    cells, cells_file, out, capsys
):
    command = ["cluster", str(cells_file), "-o", str(out), "--max-steps", "3", "--quiet"]
    assert main([*command, "--n-anchors", "8"]) == 0
    assert "bgformer: warning: --n-anchors is 8: every cell" in capsys.readouterr().err
    cells.obs["max_steps"] = 1
    cells.write_h5ad(cells_file)
    line = fails(capsys, *command, "--force", "--batch-key", "donor")
    assert "--batch-key 'donor' is not a column of the input's obs" in line
    assert "(there: 'cell_type', 'max_steps')" in line


def test_a_file_can_take_the_results_itself_with_force(cells_file):
    command = ["cluster", str(cells_file), "-o", str(cells_file), "--max-steps", "3", "--quiet"]
    assert main([*command, "--force"]) == 0
    assert "bgformer" in anndata.read_h5ad(cells_file).obs
    assert [p.name for p in cells_file.parent.iterdir()] == ["cells.h5ad"]


def test_a_column_that_is_not_from_bgformer_is_never_overwritten(cells, out, capsys, tmp_path):
    cells.obs["bgformer"] = "mine"
    cells.write_h5ad(out)
    before = out.read_bytes()
    line = fails(capsys, "cluster", out, "-o", out, "--force", "--max-steps", 3)
    assert "the input's obs has a column 'bgformer' that is not from bgformer" in line
    assert "choose another --key-added, or remove it" in line
    assert out.read_bytes() == before
    assert (
        main(
            [
                "cluster",
                str(out),
                "-o",
                str(out),
                "--force",
                "--quiet",
                "--max-steps",
                "3",
                "--key-added",
                "ours",
            ]
        )
        == 0
    )
    found = anndata.read_h5ad(out)
    assert set(found.obs["bgformer"]) == {"mine"}
    assert found.uns["ours"]["n_clusters"] == found.obs["ours"].nunique()


def test_an_entry_of_uns_that_is_not_from_bgformer_is_never_overwritten(cells, out, capsys):
    cells.uns["leiden"] = {"params": {"resolution": 1.0}}
    cells.write_h5ad(out)
    line = fails(capsys, "cluster", out, "-o", out, "--force", "--key-added", "leiden")
    assert "the input's uns has an entry 'leiden' that is not from bgformer" in line


@pytest.mark.parametrize("name", ["/", "a/b", ".", "..", "_index", "barcode"])
def test_a_name_that_would_damage_the_file_is_refused(cells, out, capsys, name):
    cells.obs.index.name = "barcode"
    cells.write_h5ad(out)
    before = out.read_bytes()
    line = fails(capsys, "cluster", out, "-o", out, "--force", "--key-added", name)
    assert f"--key-added is '{name}', which cannot name a column" in line
    assert out.read_bytes() == before


def test_the_model_needs_a_path_of_its_own(cells_file, out, capsys):
    line = fails(capsys, "cluster", cells_file, "-o", out, "--save-model", out)
    assert "--save-model is" in line
    assert "also the input or the output" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("model", "output"),
    [
        ("out.zarr", "out.zarr"),
        ("out.zarr/model", "out.zarr"),
        ("proj", "proj/out.zarr"),
        ("link/model", "out.zarr"),
        ("cells.zarr/model", "out.zarr"),
    ],
)
def test_the_model_is_not_written_into_the_data_nor_around_it(tmp_path, capsys, model, output):
    for name in ("cells.zarr", "proj"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out.zarr")
    paths = (tmp_path / "cells.zarr", "-o", tmp_path / output, "--save-model", tmp_path / model)
    assert "give another folder" in fails(capsys, "cluster", *paths, "--force")
    assert {path.name for path in tmp_path.iterdir()} == {"cells.zarr", "proj", "link"}


@pytest.mark.parametrize("model", ["/proc/model", "/proc/deep/model", "cells.h5ad/model"])
def test_a_model_that_cannot_be_saved_is_refused_before_the_fit(
    cells_file, out, capsys, monkeypatch, model
):
    monkeypatch.chdir(cells_file.parent)
    monkeypatch.setattr("bgformer.pipeline.fitting.fit_model", None)
    line = fails(capsys, "cluster", cells_file, "-o", out, "--save-model", model)
    assert "nothing can be written in" in line or "give another folder" in line
    assert [path.name for path in out.parent.iterdir()] == ["cells.h5ad"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("mine.zarr", "exists and is not a .zarr store that anndata wrote"),
        ("mixed.zarr", "also holds 'thesis.tex', which anndata did not write"),
        ("file.zarr", "is a file, not a store"),
        ("store.zarr/X", "must be named .zarr"),
        ("store.zarr/in.zarr", "is inside the input"),
    ],
)
def test_force_replaces_nothing_but_a_store(cells, tmp_path, capsys, output, message):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.tex").write_text("keep")
    (tmp_path / "mixed.zarr").mkdir()
    (tmp_path / "mixed.zarr" / ".zattrs").write_text('{"encoding-type": "anndata"}')
    (tmp_path / "mixed.zarr" / "thesis.tex").write_text("keep")
    (tmp_path / "file.zarr").write_text("keep")
    (tmp_path / "store.zarr").mkdir()
    before = sorted(tmp_path.rglob("*"))
    command = ["cluster", tmp_path / "store.zarr", "-o", tmp_path / output, "--force"]
    assert message in fails(capsys, *command)
    assert sorted(tmp_path.rglob("*")) == before


# Before the command runs, while it is put together, and in its first work.
@pytest.mark.parametrize("imported", ["bgformer.cli", "argparse", "torch"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_at_the_start_is_one_line(environment, number, imported):
    script = (
        "import runpy, sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}:\n"
        "            print('there', flush=True)\n"
        "            time.sleep(120)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "sys.argv = ['bgformer', 'info']\n"
        "runpy.run_module('bgformer', run_name='__main__')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "there\n"
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert (process.returncode, told) == (128 + number, "bgformer: interrupted\n")


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_an_interrupt(capsys, monkeypatch):
    def work(options):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            raise ImportError("numpy.core.multiarray failed to import") from error

    monkeypatch.setattr("bgformer.cli.info.info", work)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "bgformer: interrupted\n"


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o640, 0o640)])
def test_an_output_is_as_readable_as_its_input_or_as_before(cells_file, out, before, after):
    cells_file.chmod(0o600)
    if before is not None:
        out.write_bytes(b"of an earlier run")
        out.chmod(before)
    command = ["cluster", str(cells_file), "-o", str(out), "--max-steps", "2", "--quiet"]
    assert main([*command, "--force"]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == after


def test_windows_is_told_where_to_run(monkeypatch, capsys):
    monkeypatch.setattr("sys.platform", "win32")
    assert main(["info"]) == 2
    assert "runs on Linux and macOS" in capsys.readouterr().err


def test_a_link_stays_a_link(cells_file, tmp_path):
    link = tmp_path / "link.h5ad"
    link.symlink_to(cells_file)
    command = [
        "cluster",
        str(cells_file),
        "-o",
        str(link),
        "--max-steps",
        "3",
        "--quiet",
        "--force",
    ]
    assert main(command) == 0
    assert link.is_symlink()
    assert "bgformer" in anndata.read_h5ad(cells_file).obs


def test_a_write_that_fails_leaves_nothing(cells_file, out, tmp_path, capsys, monkeypatch):
    def full(self, *places):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bgformer.store.files.StoredResults.add", full)
    command = ["cluster", cells_file, "-o", out, "--max-steps", "3", "--quiet"]
    status = main([str(word) for word in [*command, "--save-model", tmp_path / "model"]])
    assert status == 2
    how, line = capsys.readouterr().err.splitlines()
    assert how.endswith(f"to continue, run: bgformer cluster --resume {tmp_path / 'model'}")
    assert line == "bgformer: error: [Errno 28] No space left on device"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.h5ad", "model"]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_killed_run_leaves_no_output(cells_file, out, environment, number, status):
    out.write_bytes(b"of an earlier run")
    options = ["--force", "--max-steps", "3", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", LINGERING_WRITE, "cluster", cells_file, "-o", out, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n", process.communicate()[1]
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert "Traceback" not in told
    assert out.read_bytes() == b"of an earlier run"
    left = sorted(p.name for p in out.parent.iterdir() if not p.name.startswith("."))
    assert left == ["cells.h5ad", "out.h5ad"]
    if number == signal.SIGKILL:  # which lets no process clean up; the next one does
        assert main(["cluster", str(cells_file), "-o", str(out), *options]) == 0
    assert len(list(out.parent.iterdir())) == 2


def test_an_interrupted_training_says_so_and_leaves_nothing(cells_file, out, environment):
    command = ["-m", "bgformer", "cluster", cells_file, "-o", out, "--max-steps", "100000"]
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "anchors" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    try:
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert told.splitlines()[-1] == "bgformer: interrupted"
    assert [p.name for p in out.parent.iterdir()] == ["cells.h5ad"]


def test_an_interrupt_that_a_destructor_swallows_is_not_lost(run_python):
    script = (
        "import os, signal, sys, time\n"
        "from bgformer.cli import info, main\n"
        "class Swallowing:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(0.1)\n"
        "def work(options):\n"
        "    Swallowing()\n"
        "    time.sleep(60)\n"
        "info.info = work\n"
        "sys.exit(main(['info']))\n"
    )
    done = run_python("-c", script)
    assert (done.returncode, done.stderr) == (130, "bgformer: interrupted\n")


def test_help_does_not_wait_for_torch(run_python):
    script = (
        "import sys\n"
        "from bgformer.cli import main\n"
        "try:\n    main(['cluster', '--help'])\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "assert not {'torch', 'scanpy', 'anndata', 'numpy'} & set(sys.modules)\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    for option in ("--n-clusters", "--resolution", "--batch-key", "--layer", "--seed", "--force"):
        assert option in done.stdout


def test_the_module_is_the_command(run_python):
    done = run_python("-m", "bgformer", "--version")
    assert (done.returncode, done.stdout) == (0, f"bgformer {bgf.__version__}\n")


def test_the_state_of_a_caller_is_left_alone(capsys):
    import warnings

    filters, handler = list(warnings.filters), signal.getsignal(signal.SIGTERM)
    main(["info"])
    assert warnings.filters == filters
    assert signal.getsignal(signal.SIGTERM) == handler
