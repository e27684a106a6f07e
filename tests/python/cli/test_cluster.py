"""Runs of the command that are interrupted, and go on."""

import os
import shutil
import signal
from importlib.util import find_spec

import anndata
import numpy as np
import pandas as pd
import pytest

from bgformer.cli import main
from bgformer.store.checkpoint import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
SUFFIXES = ("h5ad", "zarr") if find_spec("zarr") else ("h5ad",)
FIT = ("--max-steps", "6", "--batch-key", "batch")
# Ends itself by SIGKILL after two blocks of cells, of which 150 cells have three.
KILLED = """
import os, sys
from bgformer.data import sample
from bgformer.fit.schedule import Schedule
from bgformer.runtime import block_sizes
from bgformer.store.checkpoint import Checkpoint
sample.LEAST = block_sizes.PLACED = block_sizes.WEIGHTS = 64
block_sizes.COUNTS, Schedule.batch_size = 32, 8
keep = Checkpoint.keep
def keep_and_end(self, first, *block):
    keep(self, first, *block)
    if first == 64:
        os.kill(os.getpid(), 9)
Checkpoint.keep = keep_and_end
from bgformer.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    """A training on some of the 150 cells, and results that come in several blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bgformer.data.sample.LEAST", 64)
        patch.setattr("bgformer.fit.schedule.Schedule.batch_size", 8)
        for name, size in (("COUNTS", 32), ("PLACED", 64), ("WEIGHTS", 64)):
            patch.setattr(f"bgformer.runtime.block_sizes.{name}", size)
        yield


def command(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=SUFFIXES)
def folder(request, _pbmc700, tmp_path_factory, run_python):
    """Cells, a run of them that nothing interrupted, and one that was killed."""
    suffix, made = request.param, tmp_path_factory.mktemp("runs")
    cells = _pbmc700[:150].copy()
    cells.obs["batch"] = pd.Categorical(np.where(np.arange(150) % 2, "one", "two"))
    getattr(cells, f"write_{suffix}")(made / f"cells.{suffix}")
    new = ("cluster", made / f"cells.{suffix}", *FIT)
    whole = made / f"whole.{suffix}"
    assert command(*new, "-o", whole, "--save-model", made / "whole") == 0
    done = run_python(
        "-c", KILLED, *new, "-o", made / f"out.{suffix}", "--save-model", made / "killed"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return made


@pytest.fixture
def killed(folder, tmp_path):
    """The model's folder of the run that was killed; its output would be beside the cells."""
    return shutil.copytree(folder / "killed", tmp_path / "killed")


@pytest.fixture
def out(folder):
    """The output of the run that was killed."""
    path = next(folder.glob("cells.*"))
    path = path.with_name(path.name.replace("cells", "out"))
    yield path
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def assert_same(path, other):
    """Compare two outputs: to the bit if they are files, and in what they hold otherwise."""
    if path.is_file():
        assert path.read_bytes() == other.read_bytes()
        return
    found, wanted = anndata.read_zarr(path), anndata.read_zarr(other)
    pd.testing.assert_frame_equal(found.obs, wanted.obs)
    assert found.obsm.keys() == wanted.obsm.keys()
    for name in found.obsm:
        np.testing.assert_array_equal(_dense(found.obsm[name]), _dense(wanted.obsm[name]))


def _dense(values):
    return values.toarray() if hasattr(values, "toarray") else values


def fails(capsys, *arguments):
    """Run a command that must fail and return its one line."""
    assert command(*arguments) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert not others
    return line


def test_a_killed_run_goes_on_to_the_same_result(folder, killed, out, capsys):
    assert command("cluster", "--resume", killed) == 0
    assert "continuing with 128 of 150 cells placed" in capsys.readouterr().err
    assert_same(out, folder / f"whole{out.suffix}")
    for name in ("model.json", "model.safetensors"):
        assert (killed / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert sorted(path.name for path in killed.iterdir()) == ["model.json", "model.safetensors"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert "there is no unfinished run" in fails(capsys, "cluster", "--resume", killed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(folder, out, tmp_path, monkeypatch, capsys, number):
    keep, model = Checkpoint.keep, tmp_path / "model"

    def keep_and_end(self, first, *block):
        keep(self, first, *block)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Checkpoint, "keep", keep_and_end)
    cells = folder / f"cells{out.suffix}"
    assert command("cluster", cells, "-o", out, *FIT, "--save-model", model) == 128 + number
    *_, how, last = capsys.readouterr().err.splitlines()
    assert how.endswith(f"to continue, run: bgformer cluster --resume {model}")
    assert last == "bgformer: interrupted"
    monkeypatch.undo()
    assert command("cluster", "--resume", model) == 0
    assert "continuing with 64 of 150 cells placed" in capsys.readouterr().err
    assert_same(out, folder / f"whole{out.suffix}")


def damaged(path):
    """Change bytes in the middle of a file, more than the name of an array and what is with it."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(value ^ 1 for value in content[middle : middle + 100])
    path.write_bytes(content)


def test_a_damaged_block_is_placed_again(folder, killed, out, capsys):
    damaged(killed / "unfinished" / "cells-000000000000.npz")
    assert command("cluster", "--resume", killed) == 0
    assert "continuing with 0 of 150 cells placed" in capsys.readouterr().err
    assert_same(out, folder / f"whole{out.suffix}")


def test_a_damaged_model_is_not_used(killed, out, capsys):
    damaged(killed / "unfinished" / "trained.npz")
    assert "is damaged; remove this folder" in fails(capsys, "cluster", "--resume", killed)
    assert not out.exists()


def test_a_run_goes_on_with_its_own_input_alone(folder, killed, out, capsys):
    cells, other = folder / f"cells{out.suffix}", folder / f"moved{out.suffix}"
    cells.rename(other)
    assert "there is no file" in fails(capsys, "cluster", "--resume", killed)
    (shutil.copytree if other.is_dir() else shutil.copy)(other, cells)
    (next(cells.glob("obs/.z*")) if cells.is_dir() else cells).touch()
    line = fails(capsys, "cluster", "--resume", killed)
    assert f"cells{out.suffix}' has changed since the run in '{killed}' began" in line
    shutil.rmtree(cells) if cells.is_dir() else cells.unlink()
    other.rename(cells)
    assert not out.exists()


def test_what_is_there_by_now_is_not_overwritten(folder, killed, out, capsys):
    other = folder / f"cells{out.suffix}"
    (shutil.copytree if other.is_dir() else shutil.copy)(other, out)
    assert f"out{out.suffix}' exists" in fails(capsys, "cluster", "--resume", killed)
    assert_same(out, other)
    assert command("cluster", "--resume", killed, "--force") == 0
    assert_same(out, folder / f"whole{out.suffix}")


def test_an_output_that_was_about_to_get_its_name_is_of_the_run(folder, killed, out):
    whole = folder / f"whole{out.suffix}"
    (shutil.copytree if whole.is_dir() else shutil.copy)(whole, out)
    (killed / "unfinished" / "ending").touch()
    assert command("cluster", "--resume", killed) == 0
    assert_same(out, whole)


def test_starting_again_must_be_asked_for(folder, killed, out, capsys):
    cells = folder / f"cells{out.suffix}"
    again = ("cluster", cells, "-o", out, *FIT, "--save-model", killed)
    line = fails(capsys, *again)
    assert "holds an unfinished run" in line
    assert f"bgformer cluster --resume {killed}" in line
    assert command(*again, "--force") == 0
    assert_same(out, folder / f"whole{out.suffix}")


def test_what_was_killed_before_its_model_was_kept_is_no_obstacle(folder, killed, out, capsys):
    trained = killed / "unfinished" / "trained.npz"
    trained.rename(trained.with_name("trained.npz.partial"))
    assert "there is no unfinished run" in fails(capsys, "cluster", "--resume", killed)
    assert not killed.exists()
    (killed / "unfinished").mkdir(parents=True)
    for name in ("trained.npz.partial", "lock"):
        (killed / "unfinished" / name).touch()
    cells = folder / f"cells{out.suffix}"
    assert command("cluster", cells, "-o", out, *FIT, "--save-model", killed) == 0
    assert_same(out, folder / f"whole{out.suffix}")


def test_a_folder_of_the_user_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    mine = tmp_path / "mine" / "unfinished" / "finished" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for name in ("empty", "mine"):
        line = fails(capsys, "cluster", "--resume", tmp_path / name)
        assert "there is no unfinished run" in line
    cells = next(folder.glob("cells.*"))
    new = ("cluster", cells, "-o", tmp_path / f"out{cells.suffix}", "--save-model")
    line = fails(capsys, *new, tmp_path / "mine", "--force")
    assert "also holds 'thesis.txt'" in line
    assert mine.read_text() == "mine"
    assert (tmp_path / "empty").is_dir()


def test_two_runs_do_not_share_a_folder(folder, killed, out, capsys):
    cells = folder / f"cells{out.suffix}"
    with Checkpoint(killed / "unfinished").held():
        for command_line in (
            ("--resume", killed),
            (cells, "-o", out, *FIT, "--quiet", "--save-model", killed, "--force"),
        ):
            line = fails(capsys, "cluster", *command_line)
            assert f"another run keeps its progress in '{killed}'" in line
    assert not out.exists()


def test_blocks_of_another_run_or_shape_are_placed_again(folder, killed, out, capsys):
    path = killed / "unfinished" / "cells-000000000000.npz"
    with np.load(path) as stored:
        block = dict(stored)
    for change in (
        {"run": block["run"][::-1]},
        {"latent": block["latent"][:0]},
        {"latent": block["latent"][:3, :7]},
        {"latent": np.repeat(block["latent"], 9, axis=0)},
        {"indices": block["indices"] + 10**6},
    ):
        np.savez(path, **block | change)
        assert command("cluster", "--resume", shutil.copytree(killed, f"{killed}-again")) == 0
        assert "continuing with 0 of 150 cells placed" in capsys.readouterr().err
        assert_same(out, folder / f"whole{out.suffix}")
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        shutil.rmtree(f"{killed}-again")


@pytest.mark.parametrize("description", [b"null", b"{}", b'{"run": {}, "version": "0"}'])
def test_a_description_of_no_run_is_damage_or_of_another_version(killed, capsys, description):
    path = killed / "unfinished" / "trained.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["description"] = np.frombuffer(description, np.uint8)
    np.savez(path, **arrays)
    line = fails(capsys, "cluster", "--resume", killed)
    assert "is damaged; remove this folder" in line or "is of bgformer 0" in line


def test_an_input_that_changes_during_training_is_noticed(
    cells, folder, tmp_path, monkeypatch, capsys
):
    source, other = tmp_path / "cells.h5ad", tmp_path / "other.h5ad"
    cells.write_h5ad(source)
    cells[::-1].write_h5ad(other)
    start = Checkpoint.start

    def start_and_end(self, trained, run):
        other.replace(source)
        start(self, trained, run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "start", start_and_end)
    with pytest.raises(KeyboardInterrupt):
        command(
            "cluster", source, "-o", tmp_path / "out.h5ad", "--max-steps", "1", "--save-model",
            tmp_path / "model", "--quiet",
        )  # fmt: skip
    capsys.readouterr()
    line = fails(capsys, "cluster", "--resume", tmp_path / "model")
    assert "has changed since the run" in line


def test_an_unfinished_model_says_so(folder, killed, out, capsys):
    line = fails(capsys, "predict", killed, folder / f"cells{out.suffix}", "-o", out)
    assert f"is unfinished; to continue, run: bgformer cluster --resume {killed}" in line
    assert command("info", killed) == 0
    assert "an unfinished run: 128 of 150 cells placed" in capsys.readouterr().out
    (killed / "unfinished" / "trained.npz").unlink()
    assert command("info", killed) == 0
    assert "whose model is not trained yet; start it again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "nowhere"], "there is no unfinished run in 'nowhere'"),
        (["--resume", "m", "-o", "out.h5ad"], "--resume takes no option but --force"),
        (["in.h5ad", "--resume", "m"], "--resume takes no option but --force"),
        (["--resume", "m", "--seed", "9"], "--resume takes no option but --force"),
        (["--resume", "m", "--key-added", "mine"], "--resume takes no option but --force"),
        (["in.h5ad"], "the input or the output is missing"),
        (["-o", "out.h5ad"], "the input or the output is missing"),
        ([], "the input or the output is missing"),
    ],
)
def test_what_to_cluster_must_be_clear(capsys, arguments, message):
    assert message in fails(capsys, "cluster", *arguments)


# Writes no file of more than 20 kB.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from bgformer.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_without_room_for_the_progress_leaves_nothing(folder, out, tmp_path, run_python):
    new = ("cluster", folder / f"cells{out.suffix}", "-o", out, *FIT, "--quiet")
    done = run_python("-c", LIMITED, *new, "--save-model", tmp_path / "new" / "model")
    assert done.returncode == 2
    line, *others = done.stderr.splitlines()
    assert not others
    assert "the progress of the run cannot be kept in" in line
    assert not list(tmp_path.iterdir())
