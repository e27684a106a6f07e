"""What is replaced and what never is, its permissions, and what killed runs leave behind."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress

import anndata
import pytest

from bgformer.store import replacing
from bgformer.store.replacing import not_a_store, written_beside

WAITING_WRITE = """
import sys, time
from pathlib import Path
from bgformer.store.replacing import written_beside
with written_beside(Path(sys.argv[1])) as partial:
    partial.mkdir()
    (partial / "part").write_text("half")
    print("there", flush=True)
    time.sleep(120)
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def killed(tmp_path, environment):
    """The temporary folder of a process that was killed while it wrote."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_WRITE, tmp_path / "target"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "there\n"
    (folder,) = tmp_path.glob(".bgformer-*")
    yield process, folder
    process.kill()
    process.communicate()


def write(target, **options):
    with written_beside(target, **options) as partial:
        partial.write_text("new")


@pytest.mark.parametrize(
    ("of_input", "of_output", "expected"),
    [
        (0o600, None, 0o600),
        (0o640, None, 0o640),
        (0o666, None, 0o644),
        (0o444, None, 0o644),
        (0o644, 0o600, 0o600),
        (0o600, 0o664, 0o664),
    ],
)
def test_an_output_is_no_more_readable_than_its_input_or_as_before(
    tmp_path, umask, of_input, of_output, expected
):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("counts")
    source.chmod(of_input)
    if of_output is not None:
        target.write_text("old")
        target.chmod(of_output)
    write(target, like=source)
    assert mode(target) == expected
    assert target.read_text() == "new"


def test_a_folder_is_no_more_readable_than_its_input(tmp_path, umask):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir(0o700)
    for like, expected in ((source, 0o700), (None, 0o700)):  # the second keeps the first's
        with written_beside(target, like, foreign=lambda _: None) as partial:
            partial.mkdir()
        assert mode(target) == expected
    with written_beside(tmp_path / "open") as partial:
        partial.mkdir()
    assert mode(tmp_path / "open") == 0o755


def test_what_is_being_written_is_unreadable_to_others_and_has_no_name_to_guess(tmp_path):
    names = set()
    for _ in range(2):
        with suppress(KeyboardInterrupt), written_beside(tmp_path / "out.h5ad") as partial:
            assert mode(partial.parent) == 0o700
            assert partial.suffix == ".h5ad"
            assert not partial.exists()
            names.add(partial.parent.name)
            raise KeyboardInterrupt
    assert len(names) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link_to_a_file_or_to_nothing_yet(tmp_path):
    for name in ("there", "new"):
        (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
    (tmp_path / "there").write_text("old")
    for name in ("there", "new"):
        write(tmp_path / f"link-{name}")
        assert (tmp_path / f"link-{name}").is_symlink()
        assert (tmp_path / name).read_text() == "new"


def test_leftovers_of_a_killed_process_are_removed_and_those_of_a_live_one_are_not(
    killed, tmp_path
):
    process, folder = killed
    write(tmp_path / "other")
    assert (folder / "new" / "part").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    write(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_what_a_killed_process_had_moved_away_is_put_back(killed, tmp_path):
    process, folder = killed
    (folder / "old").mkdir()
    (folder / "old" / "kept").write_text("keep")
    process.kill()
    process.wait()
    write(tmp_path / "other")
    assert (tmp_path / "target" / "kept").read_text() == "keep"
    assert not folder.exists()


@pytest.mark.parametrize(("days", "is_kept"), [(6, True), (8, False)])
def test_leftovers_of_another_machine_are_removed_after_a_week(killed, tmp_path, days, is_kept):
    process, folder = killed
    process.kill()
    process.wait()
    owner = folder / "owner.json"
    owner.write_text(json.dumps(json.loads(owner.read_text()) | {"host": "another"}))
    then = owner.stat().st_mtime - days * 86400
    os.utime(owner, (then, then))
    write(tmp_path / "other")
    assert folder.exists() == is_kept


@pytest.mark.parametrize("has_owner", [False, True])
def test_an_empty_folder_of_a_run_that_was_killed_at_once_is_removed(tmp_path, has_owner):
    (tmp_path / ".bgformer-abcdefgh").mkdir()
    if has_owner:
        (tmp_path / ".bgformer-abcdefgh" / "owner.json").touch()
    write(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("step", ["open", "write"])
def test_a_folder_that_another_run_takes_for_abandoned_is_made_again(tmp_path, monkeypatch, step):
    real, calls = getattr(os, step), []

    def after_another_run(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == 1:
            (folder,) = tmp_path.glob(".bgformer-*")
            shutil.rmtree(folder)
        return real(*arguments, **keywords)

    monkeypatch.setattr(replacing.os, step, after_another_run)
    write(tmp_path / "out")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", [None, "", "[1]", '{"written_by": "someone"}'])
def test_a_folder_that_only_looks_like_ours_is_kept(tmp_path, content):
    folder = tmp_path / ".bgformer-notes"
    folder.mkdir()
    (folder / "note").write_text("keep")
    if content is not None:
        (folder / "owner.json").write_text(content)
    (tmp_path / ".bgformer-file").write_text("keep")
    (tmp_path / ".bgformer-link").symlink_to(folder)
    write(tmp_path / "other")
    left = {".bgformer-notes", ".bgformer-file", ".bgformer-link", "other"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert (folder / "note").read_text() == "keep"
    assert (folder / "owner.json").exists() == (content is not None)


def test_links_in_what_is_discarded_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir(0o755)
    (tmp_path / "outside" / "note").write_text("keep")
    with suppress(KeyboardInterrupt), written_beside(tmp_path / "target") as partial:
        partial.mkdir()
        (partial / "link").symlink_to(tmp_path / "outside")
        partial.chmod(0o500)  # as the copy of a write-protected store
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "note").read_text() == "keep"
    assert mode(tmp_path / "outside") == 0o755


def test_a_folder_that_became_a_users_own_during_the_run_is_kept(tmp_path):
    target = tmp_path / "out.zarr"

    def run():
        with written_beside(target) as partial:
            partial.mkdir()
            target.mkdir()
            (target / "note").write_text("keep")

    with pytest.raises(FileExistsError, match=r"exists and is not a \.zarr store that anndata"):
        run()
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    assert (target / "note").read_text() == "keep"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path, monkeypatch, failing):
    target, real, calls = tmp_path / "target", os.replace, []
    target.mkdir()
    (target / "kept").write_text("keep")

    def fails_once(source, destination):
        calls.append(source)
        if len(calls) == failing:
            raise KeyboardInterrupt
        real(source, destination)

    monkeypatch.setattr(replacing.os, "replace", fails_once)
    with pytest.raises(KeyboardInterrupt), written_beside(target, foreign=lambda _: None) as part:
        part.mkdir()
    assert (target / "kept").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("parent", ["/proc", "file", "nowhere"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, parent):
    (tmp_path / "file").write_text("keep")
    with (
        pytest.raises(OSError, match=rf"^nothing can be written in '.*{parent}' \(.*\); choose"),
        written_beside(tmp_path / parent / "out.h5ad"),
    ):
        pass


@pytest.mark.filterwarnings("ignore:.*zarr v", "ignore:Consolidated metadata")
@pytest.mark.parametrize("of_format", [2, 3])
def test_a_store_is_known_by_what_anndata_writes(cells, tmp_path, of_format):
    pytest.importorskip("zarr")
    store = tmp_path / "cells.zarr"
    cells.raw = cells
    with anndata.settings.override(zarr_write_format=of_format):
        cells.write_zarr(store)
    assert not_a_store(store) is None
    (store / "notes.txt").write_text("keep")
    assert not_a_store(store) == "also holds 'notes.txt', which anndata did not write"


@pytest.mark.parametrize("root", [None, "{}", "[]", "not JSON", '{"attributes": 3}'])
def test_another_folder_is_not_a_store(tmp_path, root):
    for name in ("zarr.json", ".zattrs"):
        if root is not None:
            (tmp_path / name).write_text(root)
    assert not_a_store(tmp_path) == "is not a .zarr store that anndata wrote"
