"""The command on damaged, read-only and unreadable input, and on a full disk."""

import gzip
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from bgformer.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def full(cells):
    """Cells with something in every place of an AnnData."""
    cells.layers["log"] = cells.X.astype(np.float64).log1p()
    cells.obs["donor"] = pd.Categorical(np.where(np.arange(cells.n_obs) % 2, "a", "b"))
    cells.obsm["X_pca"] = np.ones((cells.n_obs, 3))
    cells.obsp["near"] = sparse.identity(cells.n_obs, format="csr")
    cells.uns["note"] = {"of": "the user"}
    return cells


@pytest.fixture
def folder(cells, tmp_path):
    """A matrix-market folder."""
    found = tmp_path / "counts"
    found.mkdir()
    io.mmwrite(found / "matrix.mtx", cells.X.T.tocoo(), field="integer")
    for name, names in (("barcodes", cells.obs_names), ("genes", cells.var_names)):
        (found / f"{name}.tsv").write_text("".join(f"{one}\t{one}\n" for one in names))
    return found


def written(adata, path):
    if path.suffix == ".zarr":
        pytest.importorskip("zarr")
        adata.write_zarr(path)
    else:
        # compressed, so that a changed byte is an error
        adata.write_h5ad(path, compression="gzip")
    return path


def refused(capsys, given, *options):
    """Cluster what must be refused; check that nothing is left, and return the one line."""
    output = given.with_name(f"out{'.zarr' if given.suffix == '.zarr' else '.h5ad'}")
    before = sorted(given.parent.rglob("*"))
    status = main(
        ["cluster", str(given), "-o", str(output), "--max-steps", "1", "--quiet", *options]
    )
    lines = capsys.readouterr().err.splitlines()
    assert status == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("bgformer: error: ")
    assert sorted(given.parent.rglob("*")) == before
    return lines[0].removeprefix("bgformer: error: ")


def damage_chunk(path, name):
    """Change bytes in the middle of the first chunk of an array in an .h5ad file."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 3)
        file.write(b"damage" * 3)


@pytest.mark.parametrize("name", ["X/data", "X/indices", "layers/log/data", "obsm/X_pca"])
def test_damage_in_any_part_is_named_whether_it_is_used_or_copied(full, tmp_path, capsys, name):
    path = written(full, tmp_path / "cells.h5ad")
    damage_chunk(path, name)
    part = name.split("/")[0]
    line = refused(capsys, path)
    assert line.startswith(part)
    assert f" of '{path}' cannot be read (" in line
    assert line.endswith("; it may be damaged: copy or write it again.")


@pytest.mark.parametrize("part", ["X/data/0", "layers/log/indices/0", "obsm/X_pca/0.0"])
def test_a_truncated_chunk_of_a_store_is_named(full, tmp_path, capsys, part):
    path = written(full, tmp_path / "cells.zarr")
    chunk = path / part
    chunk.write_bytes(chunk.read_bytes()[:-20])
    line = refused(capsys, path)
    assert f" of '{path}' cannot be read (" in line
    assert part.split("/")[0] in line


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize(
    ("part", "change", "what"),
    [
        ("obs", lambda group: group.__delitem__("donor"), "obs"),
        ("obsm", lambda group: group["X_pca"].resize((149, 3)), r"its shape begins with (149,)"),
        ("obsp/near", lambda group: group.__delitem__("indptr"), "obsp"),
        ("uns/note/of", lambda it: it.attrs.update({"encoding-type": "riddle"}), "uns"),
        ("layers", lambda group: group.attrs.update({"encoding-version": "?"}), "layers"),
    ],
)
def test_what_anndata_could_not_read_is_not_copied(
    full, tmp_path, capsys, suffix, part, change, what
):
    path = tmp_path / f"cells{suffix}"
    chunks = {"dataset_kwargs": {"chunks": (50, 3), "maxshape": (None, 3)}}
    written(full, path)
    if suffix == ".h5ad":
        with h5py.File(path, "r+") as file:
            del file["obsm/X_pca"]
            anndata.io.write_elem(file["obsm"], "X_pca", full.obsm["X_pca"], **chunks)
            change(file[part])
    else:
        import zarr

        change(zarr.open_group(path, mode="r+", use_consolidated=False)[part])
        zarr.consolidate_metadata(path)
    line = refused(capsys, path)
    assert what in line
    assert f"of '{path}' cannot be read (" in line


def test_a_part_that_is_none_of_an_anndata_is_not_copied(full, tmp_path, capsys):
    path = written(full, tmp_path / "cells.h5ad")
    with h5py.File(path, "r+") as file:
        file.move("layers", "layers2")
    assert f"'{path}' has a part 'layers2', which is none of an AnnData" in refused(capsys, path)


def test_a_layer_whose_arrays_do_not_fit_each_other_is_not_copied(full, tmp_path, capsys):
    path = written(full, tmp_path / "cells.h5ad")
    with h5py.File(path, "r+") as file:
        group = file["layers/log"]
        indices = group["indices"][:-1]
        del group["indices"]
        group["indices"] = indices
    assert f"layers/log of '{path}' is damaged" in refused(capsys, path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("matrix.mtx.gz", lambda content: content[:-30]),
        ("matrix.mtx.gz", lambda content: content[:100] + b"damage" + content[106:]),
        ("barcodes.tsv.gz", lambda content: content[:-30]),
        ("genes.tsv.gz", lambda content: b"\x1f\x8b" + content[:10]),
        ("matrix.mtx", lambda content: content[: len(content) // 2]),
        ("matrix.mtx", lambda content: content[:900] + bytes(64) + content[964:]),
        ("matrix.mtx", lambda content: content.replace(b"\n1 ", b"\n9999 ")),
        ("barcodes.tsv", lambda _: b"\xff\xfe\x00"),
        ("genes.tsv", lambda _: b""),
    ],
)
def test_a_damaged_file_of_a_folder_is_named(folder, capsys, name, change):
    path = folder / name
    plain = folder / name.removesuffix(".gz")
    content = plain.read_bytes()
    plain.unlink()
    path.write_bytes(change(gzip.compress(content) if path.suffix == ".gz" else content))
    assert f"'{path}' cannot be read (" in refused(capsys, folder)


def test_a_10x_file_with_an_index_out_of_range(cells, tmp_path, run_python):
    path = tmp_path / "counts.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("GRCh38")
        group["barcodes"] = np.array(cells.obs_names, dtype="S")
        group["genes"] = group["gene_names"] = np.array(cells.var_names, dtype="S")
        group["data"], group["indptr"] = cells.X.data.astype(np.int32), cells.X.indptr
        indices = cells.X.indices.copy()
        indices[7] = 10**8
        group["indices"], group["shape"] = indices, cells.shape[::-1]
    command = ("-m", "bgformer", "cluster", path, "-o", tmp_path / "out.h5ad")
    done = run_python(*command, "--max-steps", "1", "--quiet")
    assert done.returncode == 2
    assert done.stderr == (
        f"bgformer: error: group 'GRCh38' of '{path}' is damaged: it has the index 100000000, "
        f"where 0 to {cells.n_vars - 1} are possible; copy or write it again.\n"
    )
    assert [found.name for found in tmp_path.iterdir()] == ["counts.h5"]


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_a_file_without_permission(full, tmp_path, capsys):  # pragma: no cover
    path = written(full, tmp_path / "cells.h5ad")
    path.chmod(0)
    assert "you have no permission" in refused(capsys, path)


def test_a_file_without_permission_is_not_said_to_be_missing(full, tmp_path, capsys, monkeypatch):
    path = written(full, tmp_path / "cells.h5ad")
    access = os.access
    monkeypatch.setattr(os, "access", lambda at, how: at != path and access(at, how))
    assert refused(capsys, path) == (
        f"'{path}' cannot be read, because you have no permission; ask its owner, or copy it."
    )


def test_a_read_only_store_is_clustered(full, tmp_path):
    path, output = written(full, tmp_path / "cells.zarr"), tmp_path / "out.zarr"
    for found in (path, *path.rglob("*")):
        found.chmod(0o555 if found.is_dir() else 0o444)
    before = {found: (found.stat().st_mode, found.stat().st_mtime) for found in path.rglob("*")}
    assert main(["cluster", str(path), "-o", str(output), "--max-steps", "1", "--quiet"]) == 0
    assert "bgformer" in anndata.read_zarr(output).obs
    after = {found: (found.stat().st_mode, found.stat().st_mtime) for found in path.rglob("*")}
    assert after == before
    assert all(found.stat().st_mode & stat.S_IWUSR for found in (output, *output.rglob("*")))


@contextmanager
def small_disk(at, kib):
    """Mount a file system of this size, which needs root."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(at)]
    if (
        not AS_ROOT
        or shutil.which("mount") is None
        or subprocess.run(mount, check=False).returncode
    ):
        pytest.skip("needs to mount a small disk")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.parametrize(
    ("kind", "spare"),
    [(".h5ad", -100), (".h5ad", 60), (".h5ad", 200), (".zarr", 100), ("folder", None)],
)
def test_a_full_disk(full, folder, tmp_path, run_python, kind, spare):
    given = folder if kind == "folder" else written(full, tmp_path / f"cells{kind}")
    files = [given] if given.is_file() else [path for path in given.rglob("*") if path.is_file()]
    kib = 200 if spare is None else sum(-(-f.stat().st_size // 4096) * 4 for f in files) + spare
    with small_disk(tmp_path / "disk", kib) as disk:
        output = disk / f"out{'.zarr' if kind == '.zarr' else '.h5ad'}"
        command = ("-m", "bgformer", "cluster", given, "-o", output, "--n-anchors", "64")
        done = run_python(*command, "--max-steps", "1", "--quiet")
        assert done.returncode == 2, done.stderr
        *_, line = done.stderr.splitlines()
        assert line.startswith(f"bgformer: error: '{output}' cannot be written, because ")
        assert "the disk is full" in line or " MB are free in " in line
        assert line.endswith("; free some room, or choose another folder for the output.")
        assert list(disk.iterdir()) == []
