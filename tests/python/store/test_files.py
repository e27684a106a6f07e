"""Results in a copy of a file: what a full disk, a read-only source and a signal leave behind."""

import signal
import stat
import time

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from bgformer.store import copies, files

# Writes with less and less room, in a process of its own, which HDF5 must not end.
WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
import anndata, numpy as np
from scipy import sparse
from bgformer.store import files

source, output = Path(sys.argv[1]), Path("out.h5ad")
cells = anndata.read_h5ad(source)

def results(partial):
    with files.StoredResults(source, partial, "bgformer", output) as stored:
        stored.start(cells.n_obs, 32, 64)
        for _ in range(3):
            stored.add(np.ones((50, 32), np.float32), sparse.random(50, 64, 0.5, format="csr"))
        stored.end()
        text = np.array(["a"] * cells.n_obs, dtype=object)
        stored.describe({"bgformer": text}, {str(i): text for i in range(20)})

def whole(partial):
    files.write_cells(cells, partial, output)

partial = Path(sys.argv[2])
for write in (results, whole):
    write(partial)
    size = partial.stat().st_size
    for at in np.linspace(1000, size - 1, 30):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), -1))
        try:
            write(partial)
        except OSError as error:
            said = str(error)
        else:
            said = "nothing"
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        partial.unlink()
        print(said)
"""


def test_less_room_than_needed_is_said_and_ends_no_process(cells, tmp_path, run_python):
    pytest.importorskip("resource")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    done = run_python("-c", WITH_LITTLE_ROOM, tmp_path / "cells.h5ad", tmp_path / "partial.h5ad")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {
        "'out.h5ad' cannot be written, because a file may not become that large there (see "
        "'ulimit -f'); free some room, or choose another folder for the output."
    }
    assert len(done.stdout.splitlines()) == 60


def test_no_room_is_said_before_anything_is_computed(cells, tmp_path, monkeypatch):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    disk = type("Disk", (), {"total": 10**6, "free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk)
    output = tmp_path / "out.h5ad"
    with (
        pytest.raises(OSError, match=r"out.h5ad' cannot .* needs more than .* MB and 0.0 MB are "),
        files.StoredResults(tmp_path / "cells.h5ad", tmp_path / "partial", "bgformer", output),
    ):
        pytest.fail("went on")


def test_cells_are_written_as_anndata_writes_them(cells, tmp_path):
    cells.layers["twice"] = cells.X * 2
    cells.raw = cells.copy()
    cells.obs["text"] = ["a", "b"] * 75
    cells.uns["more"] = {"of": "it"}
    cells.write_h5ad(tmp_path / "theirs.h5ad")
    files.write_cells(cells, tmp_path / "ours.h5ad", tmp_path / "out.h5ad")
    ours, theirs = (anndata.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs"))
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    pd.testing.assert_frame_equal(ours.var, theirs.var)
    assert (ours.X != theirs.X).nnz == (ours.layers["twice"] != theirs.layers["twice"]).nnz == 0
    assert (ours.raw.X != theirs.raw.X).nnz == 0
    assert ours.uns["more"] == {"of": "it"}


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_a_copy_of_a_read_only_store_can_be_written_and_removed(cells, tmp_path):
    pytest.importorskip("zarr")
    source, copy = tmp_path / "cells.zarr", tmp_path / "copy.zarr"
    cells.write_zarr(source)
    paths = [source, *source.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with files.StoredResults(source, copy, "bgformer", copy) as stored:
        stored.start(cells.n_obs, 4, 8)
        stored.add(np.ones((150, 4), np.float32), sparse.random(150, 8, 0.5, format="csr"))
        stored.end()
    for path in (copy, *copy.rglob("*")):
        needed = stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR
        assert path.stat().st_mode & needed == needed
    modes = {0o555 if path.is_dir() else 0o444 for path in paths}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == modes
    assert anndata.read_zarr(copy).obsm["X_bgformer"].shape == (150, 4)


def test_a_store_that_only_its_owner_may_read_stays_so(cells, tmp_path):
    pytest.importorskip("zarr")
    source, copy = tmp_path / "cells.zarr", tmp_path / "copy.zarr"
    source.mkdir(mode=0o700)
    (source / ".zgroup").write_text('{"zarr_format": 2}')
    (source / ".zgroup").chmod(0o600)
    copies.copied(source, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert stat.S_IMODE((copy / ".zgroup").stat().st_mode) == 0o600


class StoppedError(BaseException):
    """What the handler of a signal raises."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
def test_a_signal_while_hdf5_writes_comes_through(tmp_path):
    def stop(*_):
        raise StoppedError

    def write_long(file):
        for i in range(100):
            file[f"values{i}"] = np.ones(20_000)
            file.flush()
            time.sleep(0.005)

    before = signal.signal(signal.SIGALRM, stop)
    output = copies.Hdf5(tmp_path / "partial.h5ad", "w")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(StoppedError):
            output.run(write_long, output.root)
    finally:
        signal.signal(signal.SIGALRM, before)
        written = (tmp_path / "partial.h5ad").stat().st_size
        output.close(complete=False)
    assert (tmp_path / "partial.h5ad").stat().st_size <= written + 10**6  # it did not go on
