"""Cells from files: every form that sequencing centres hand out, and what cannot be read."""

import gzip

import h5py
import numpy as np
import pytest
from scipy import io

from bgformer.data import readers


def write_lines(path, lines):
    text = "".join(f"{line}\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_folder(folder, adata, *, version, zipped):
    """Write cells as Cell Ranger 2 (genes.tsv) or 3 (features.tsv) does."""
    folder.mkdir()
    end = ".gz" if zipped else ""
    io.mmwrite(folder / "matrix.mtx", adata.X.T.tocoo(), field="integer")
    if zipped:
        plain = folder / "matrix.mtx"
        (folder / "matrix.mtx.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    write_lines(folder / f"barcodes.tsv{end}", adata.obs_names)
    rows = [f"ENSG{i}\t{name}" for i, name in enumerate(adata.var_names)]
    if version == 3:
        write_lines(folder / f"features.tsv{end}", [f"{row}\tGene Expression" for row in rows])
    else:
        write_lines(folder / f"genes.tsv{end}", rows)


def write_10x_h5(path, adata, *, version, names=None):
    """Write cells as Cell Ranger 2 or 3 does, in its own HDF5 layout."""
    names = np.array(list(adata.var_names) if names is None else names, dtype="S")
    ids = np.array([f"ENSG{i}" for i in range(adata.n_vars)], dtype="S")
    counts = adata.X.tocsr()
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        group["data"] = counts.data.astype(np.int32)
        group["indices"] = counts.indices.astype(np.int64)
        group["indptr"] = counts.indptr.astype(np.int64)
        group["shape"] = np.array(adata.shape[::-1], dtype=np.int32)
        if version == 3:
            features = group.create_group("features")
            features["id"], features["name"] = ids, names
            features["feature_type"] = np.array(["Gene Expression"] * adata.n_vars, dtype="S")
            features["genome"] = np.array(["GRCh38"] * adata.n_vars, dtype="S")
        else:
            group["genes"], group["gene_names"] = ids, names


def check_same(found, expected):
    assert list(found.obs_names) == list(expected.obs_names)
    assert list(found.var_names) == list(expected.var_names)
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_matrix_market_folder(cells, tmp_path, version, zipped):
    write_folder(tmp_path / "counts", cells, version=version, zipped=zipped)
    found = readers.read(tmp_path / "counts")
    check_same(found, cells)
    assert list(found.var["gene_ids"][:2]) == ["ENSG0", "ENSG1"]


@pytest.mark.parametrize("version", [2, 3])
def test_a_10x_h5_file(cells, tmp_path, version):
    write_10x_h5(tmp_path / "counts.h5", cells, version=version)
    check_same(readers.read(tmp_path / "counts.h5"), cells)


def test_an_h5ad_file(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    check_same(readers.read(str(tmp_path / "cells.h5ad")), cells)


def test_gene_names_that_stand_twice_in_a_10x_file_are_told_apart(cells, tmp_path):
    names = list(cells.var_names)
    names[7] = names[3]
    write_10x_h5(tmp_path / "counts.h5", cells, version=3, names=names)
    found = readers.read(tmp_path / "counts.h5")
    assert found.var_names.is_unique
    assert found.var_names[7] == f"{names[3]}-1"
    cells.var_names = names
    write_folder(tmp_path / "counts", cells, version=3, zipped=True)
    assert readers.read(tmp_path / "counts").var_names[7] == f"{names[3]}-1"


def test_features_that_are_not_genes_are_left_out(cells, tmp_path):
    write_folder(tmp_path / "counts", cells, version=3, zipped=False)
    path = tmp_path / "counts" / "features.tsv"
    lines = path.read_text().splitlines()
    lines[-1] = "CD3_antibody\tCD3\tAntibody Capture"
    write_lines(path, lines)
    check_same(readers.read(tmp_path / "counts"), cells[:, :-1].copy())


def test_gene_names_that_look_like_missing_values_or_hold_quotes(cells, tmp_path):
    cells.var_names = ["NA", "null", "5'-nuc", 'a"b', *cells.var_names[4:]]
    write_folder(tmp_path / "counts", cells, version=3, zipped=False)
    check_same(readers.read(tmp_path / "counts"), cells)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*cells.h5ad'"):
        readers.read(tmp_path / "cells.h5ad")


@pytest.mark.parametrize("missing", ["matrix.mtx", "barcodes.tsv", "features.tsv"])
def test_a_folder_without_one_of_its_files(cells, tmp_path, missing):
    write_folder(tmp_path / "counts", cells, version=3, zipped=False)
    (tmp_path / "counts" / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"folder '.*counts' has no {missing}"):
        readers.read(tmp_path / "counts")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"cells.csv' is not a kind of file that can be read"):
        readers.read(tmp_path / "cells.csv")


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.h5"])
@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_a_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}' cannot be read as an? .*: ") as caught:
        readers.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_h5ad(cells, tmp_path):
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"cannot be read as an \.h5ad file"):
        readers.read(path)


def test_an_h5_file_that_is_not_from_10x(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["table"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"other.h5' cannot be read as a 10x \.h5 file"):
        readers.read(tmp_path / "other.h5")


def test_a_folder_whose_names_do_not_fit_its_matrix(cells, tmp_path):
    write_folder(tmp_path / "counts", cells, version=3, zipped=False)
    write_lines(tmp_path / "counts" / "barcodes.tsv", cells.obs_names[:-1])
    message = r"the matrix is of 765 genes x 150 cells, but 765 genes and 149 cells are named"
    with pytest.raises(ValueError, match=message):
        readers.read(tmp_path / "counts")
