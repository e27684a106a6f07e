"""The table of clusters that a command writes beside its output, or alone."""

import os
import signal
import stat
import subprocess
import sys
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf
from bgformer.cli import main
from bgformer.store.checkpoint import Checkpoint

FIT = ("--max-steps", "3", "--quiet")
ODD = ['a,b"c', "a\nb", "a\r\nb", "a\rb", " a ", "'", "ä→", "a\tb", '"', "a;b"]
# Writes the table and then lingers.
LINGERING = """
import sys, time
from bgformer.store import tables
write = tables.write_csv
def lingering(*arguments):
    write(*arguments)
    print("written", flush=True)
    time.sleep(120)
tables.write_csv = lingering
from bgformer.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def given(cells, tmp_path):
    """A file of cells with odd names."""
    cells.obs_names = [*ODD, *cells.obs_names[len(ODD) :]]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def table(tmp_path):
    return tmp_path / "clusters.csv"


def command(*arguments):
    return main([str(argument) for argument in arguments])


def fails(capsys, *arguments):
    """Run a command that must fail and return its one line."""
    assert command(*arguments) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert not others
    return line


def assert_table(path, obs, key="bgformer"):
    """Check that a table holds these clusters and nothing else."""
    found = pd.read_csv(path, dtype={key: str})
    assert list(found.columns) == ["cell", key, f"{key}_confidence"]
    assert list(found["cell"]) == list(obs.index)
    assert list(found[key]) == list(obs[key])
    confidence = found[f"{key}_confidence"].to_numpy(np.float32)
    np.testing.assert_array_equal(confidence, obs[f"{key}_confidence"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_table_holds_what_obs_holds_under_any_name_of_a_cell(given, table, tmp_path):
    out = tmp_path / "out.h5ad"
    assert command("cluster", given, "-o", out, "--csv", table, "--key-added", "kind", *FIT) == 0
    assert_table(table, anndata.read_h5ad(out).obs, "kind")
    assert names(tmp_path) == ["cells.h5ad", "clusters.csv", "out.h5ad"]


def test_a_table_alone_is_all_that_is_written(given, table, tmp_path):
    model = tmp_path / "model"
    assert command("cluster", given, "--csv", table, "--save-model", model, *FIT) == 0
    cells = anndata.read_h5ad(given)
    bgf.tl.cluster(cells, max_steps=3, verbose=False)
    assert_table(table, cells.obs)
    predicted = tmp_path / "predicted.csv"
    assert command("predict", model, given, "--csv", predicted, "--quiet") == 0
    found = pd.read_csv(predicted).drop(columns="bgformer_outlier")
    pd.testing.assert_frame_equal(found, pd.read_csv(table))
    assert names(tmp_path) == ["cells.h5ad", "clusters.csv", "model", "predicted.csv"]


def test_a_table_alone_takes_any_name_of_its_column(cells, table, tmp_path, capsys):
    cells.obs["bgformer"] = "mine"  # which a table does not overwrite
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert command("cluster", tmp_path / "cells.h5ad", "--csv", table, *FIT) == 0
    assert set(pd.read_csv(table)["bgformer"]) != {"mine"}
    words = ("--csv", table, "--force", "--key-added", "cell")
    line = fails(capsys, "cluster", tmp_path / "cells.h5ad", *words)
    assert "--key-added is 'cell', the column of the table with the names" in line


def test_a_store_can_give_a_table_alone(given, table, tmp_path):
    pytest.importorskip("zarr")
    cells = anndata.read_h5ad(given)
    with pytest.warns(UserWarning, match="Writing zarr v2"):
        cells.write_zarr(tmp_path / "cells.zarr")
    assert command("cluster", tmp_path / "cells.zarr", "--csv", table, *FIT) == 0
    bgf.tl.cluster(cells, max_steps=3, verbose=False)
    assert_table(table, cells.obs)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("there.csv", "exists; give another name, or --force to overwrite it."),
        ("table.txt", "must be named .csv."),
        ("table.csv.gz", "must be named .csv."),
        ("no/table.csv", "there is no folder"),
        ("folder.csv", "is a folder; give the name of a file."),
        ("/proc/table.csv", "nothing can be written in '/proc'"),
        ("model/table.csv", "is also 'model', or inside it"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_before_any_work(
    given, tmp_path, capsys, monkeypatch, csv, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bgformer.data.source.opened", None)
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    before = names(tmp_path)
    force = [] if csv == "there.csv" else ["--force"]
    for more in ([], ["-o", "out.h5ad"]):
        for words in (["cluster", given, "--save-model", "model"], ["predict", "model", given]):
            assert message in fails(capsys, *words, "--csv", csv, *more, *force)
    assert names(tmp_path) == before
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_the_table_is_not_the_input_or_the_output(tmp_path, capsys):
    (tmp_path / "cells.csv").mkdir()  # a folder of counts may have any name
    (tmp_path / "link.csv").symlink_to(tmp_path / "out.h5ad")
    for csv in ("cells.csv", "cells.csv/table.csv", "link.csv"):
        words = ("-o", tmp_path / "out.h5ad", "--csv", tmp_path / csv, "--force")
        line = fails(capsys, "cluster", tmp_path / "cells.csv", *words)
        assert "give another name" in line
        assert "is also '" in line


def test_one_of_the_two_outputs_is_needed(given, tmp_path, capsys):
    assert "give -o OUT.h5ad, or --csv" in fails(capsys, "predict", tmp_path / "model", given)
    assert "or --csv OUT.csv" in fails(capsys, "cluster", given)


def test_a_table_that_is_replaced_keeps_its_permissions_and_a_new_one_has_the_inputs(
    given, table, tmp_path
):
    given.chmod(0o600)
    assert command("cluster", given, "--csv", table, *FIT) == 0
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    table.write_text("of an earlier run")
    table.chmod(0o640)
    assert command("cluster", given, "--csv", table, *FIT, "--force") == 0
    assert stat.S_IMODE(table.stat().st_mode) == 0o640
    assert table.read_text() != "of an earlier run"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_the_old_table(given, table, tmp_path, environment, number):
    table.write_text("of an earlier run")
    words = ["cluster", given, "-o", tmp_path / "out.h5ad", "--csv", table, "--force", *FIT]
    process = subprocess.Popen(
        [sys.executable, "-c", LINGERING, *words], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"written\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert table.read_text() == "of an earlier run"
    assert not (tmp_path / "out.h5ad").exists()


def test_a_disk_without_room_for_the_table_leaves_nothing(given, tmp_path, run_python):
    limited = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from bgformer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    pytest.importorskip("resource")
    done = run_python("-c", limited, "cluster", given, "--csv", tmp_path / "table.csv", *FIT)
    assert done.returncode == 2
    line, *others = done.stderr.splitlines()
    assert not others
    assert "table.csv' cannot be written, because a file may not become that large" in line
    assert names(tmp_path) == ["cells.h5ad"]


def test_a_resumed_run_writes_its_table(given, table, tmp_path, monkeypatch, capsys):
    keep, model = Checkpoint.keep, tmp_path / "model"

    def keep_and_end(self, first, *block):
        keep(self, first, *block)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Checkpoint, "keep", keep_and_end)
    words = ("cluster", given, "--csv", table, "--save-model", model, *FIT)
    assert command(*words) == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert not table.exists()
    capsys.readouterr()
    assert command("info", model) == 0
    told = capsys.readouterr().out.splitlines()
    assert f"csv: {table}" in told
    assert not [line for line in told if line.startswith("output")]
    assert "takes no option but" in fails(capsys, "cluster", "--resume", model, "--csv", table)
    table.write_text("mine")
    assert "clusters.csv' exists" in fails(capsys, "cluster", "--resume", model)
    table.unlink()
    assert command("cluster", "--resume", model) == 0
    cells = anndata.read_h5ad(given)
    bgf.tl.cluster(cells, max_steps=3, verbose=False)
    assert_table(table, cells.obs)


def test_a_store_of_an_older_version_is_written_as_a_store(pbmc700, tmp_path, capsys):
    zarr = pytest.importorskip("zarr")
    old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Writing zarr v2")
        pbmc700[:150].copy().write_zarr(old)
    zarr.open_group(old, mode="r+", use_consolidated=False).attrs.clear()
    zarr.consolidate_metadata(old)
    given = ["cluster", str(old), "-o", str(new), "--max-steps", "2", "--quiet"]
    assert main(given) == 0
    assert new.is_dir()
    assert "bgformer" in anndata.read_zarr(new).obs
    assert "zarr v2" not in capsys.readouterr().err
