"""Matrices that are damaged, or of a type that few use: taken exactly, or refused."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.data import checks, matrices, source

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2", "ignore:.*Zarr V3 spec")
COUNTS = np.random.default_rng(0).poisson(1.5, (40, 30)).astype(np.float32)
FORMS = {"CSR": sparse.csr_matrix, "CSC": sparse.csc_matrix, "dense": np.array}


@pytest.fixture(params=[".h5ad", ".zarr"])
def suffix(request):
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return request.param


def in_form(values, form, dtype=None):
    """Return a matrix whose values have a type that SciPy may not convert to."""
    found = FORMS[form](values)
    if dtype is None:
        return found
    if form == "dense":
        return found.astype(dtype)
    found.data = found.data.astype(dtype)
    return found


def write(matrix, path):
    adata = anndata.AnnData(matrix)
    (adata.write_zarr if path.suffix == ".zarr" else adata.write_h5ad)(path)
    return path


def change(path, of_x):
    """Change the arrays of X in a file."""
    if path.suffix == ".h5ad":
        with h5py.File(path, "r+") as file:
            of_x(file["X"])
    else:
        import zarr

        of_x(zarr.open_group(path, mode="r+", use_consolidated=False)["X"])


def read_from(path):
    with source.opened(path) as cells:
        return sparse.vstack([block for _, block in source.source_of(cells).blocks()])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", ">i8", "u1", "u8", "i2", "g"])
def test_whole_numbers_of_every_type_are_the_same_counts(form, dtype):
    adata = anndata.AnnData(COUNTS)
    adata.X = in_form(COUNTS, form, dtype)
    found = checks.read_counts(adata)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.toarray(), COUNTS)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">i8", "u1"])
def test_whole_numbers_of_every_type_are_the_same_counts_on_disk(dtype, suffix, tmp_path):
    path = write(COUNTS.astype(dtype), tmp_path / f"cells{suffix}")
    np.testing.assert_array_equal(read_from(path).toarray(), COUNTS)


def test_detected_or_not_is_zero_and_one():
    found = checks.read_counts(anndata.AnnData(COUNTS > 0))
    np.testing.assert_array_equal(found.toarray(), COUNTS > 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.complex64, object])
def test_what_is_not_a_real_number_is_refused(form, dtype):
    adata = anndata.AnnData(COUNTS)
    adata.X = in_form(COUNTS, form, dtype)
    with pytest.raises(
        bgf.CountsError, match=rf"X holds values of type {np.dtype(dtype)}, .*'int"
    ):
        checks.read_counts(adata)


def test_text_and_masked_values_are_refused():
    with pytest.raises(bgf.CountsError, match="X holds values of type <U32, which is not"):
        checks.read_counts(anndata.AnnData(COUNTS.astype(str)))
    masked = np.ma.masked_array(COUNTS, COUNTS == 1)
    with pytest.raises(bgf.CountsError, match=r"X has masked values; fill them, e.g. with numpy"):
        checks.read_counts(anndata.AnnData(masked))
    unmasked = checks.read_counts(anndata.AnnData(np.ma.masked_array(COUNTS)))
    np.testing.assert_array_equal(unmasked.toarray(), COUNTS)


def test_complex_numbers_in_a_file_are_refused(suffix, tmp_path):
    path = write(COUNTS.astype(np.complex64), tmp_path / f"cells{suffix}")
    with pytest.raises(bgf.CountsError, match=rf"X of '{path}' holds values of type complex64"):
        read_from(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (1 + 1e-9, r"values that are not whole numbers \(1\.000000001 in cell '3', gene '\d+'\)"),
        (1e-60, r"values that are not whole numbers \(1e-60 in"),
        (2**24 + 1, r"values above 16,777,216, the largest that is exact \(16777217 in cell '3'"),
        (1e19, r"values above 16,777,216, the largest that is exact \(1e\+19 in cell '3'"),
    ],
)
def test_values_are_checked_before_they_are_rounded(form, value, what, suffix, tmp_path):
    wrong = COUNTS.astype(np.float64)
    wrong[3, np.flatnonzero(wrong[3])[2]] = value
    matrix = in_form(wrong, form)
    for read in (
        lambda: checks.read_counts(anndata.AnnData(matrix)),
        lambda: read_from(write(matrix, tmp_path / f"cells{suffix}")),
    ):
        with pytest.raises(bgf.CountsError, match=f"X holds {what}"):
            read()


def test_the_largest_count_is_taken():
    counts = COUNTS.copy()
    counts[0, 0] = checks.LARGEST
    np.testing.assert_array_equal(checks.read_counts(anndata.AnnData(counts)).toarray(), counts)


def test_equal_indices_add_up_beyond_their_type():
    twice = sparse.csr_matrix(
        (np.full(40 * 3, 100, dtype=np.int8), np.tile([4, 4, 4], 40), np.arange(0, 121, 3)),
        shape=(40, 30),
    )
    assert checks.read_counts(anndata.AnnData(twice)).toarray().max() == 300


DAMAGE = [
    ("indices", 4, 10**9, r"it has the index 1000000000, where 0 to \d+ are possible"),
    ("indices", 4, -3, r"it has the index -3, where 0 to \d+ are possible"),
    ("indptr", 3, 10**6, "indptr does not start at 0, or falls"),
    ("indptr", 0, 2, "indptr does not start at 0, or falls"),
    ("indptr", -1, 10**6, r"it has \d+ values and \d+ indices, and indptr ends at 1000000"),
]


@pytest.mark.parametrize("form", ["CSR", "CSC"])
@pytest.mark.parametrize(("part", "at", "value", "what"), DAMAGE)
def test_a_damaged_sparse_matrix_in_memory(form, part, at, value, what):
    adata = anndata.AnnData(in_form(COUNTS, form))
    getattr(adata.X, part)[at] = value
    with pytest.raises(bgf.CountsError, match=f"^X is damaged: {what}; copy or write it again.$"):
        checks.read_counts(adata)


@pytest.mark.parametrize("form", ["CSR", "CSC"])
@pytest.mark.parametrize(("part", "at", "value", "what"), DAMAGE)
def test_a_damaged_sparse_matrix_in_a_file(form, part, at, value, what, suffix, tmp_path):
    path = write(in_form(COUNTS, form), tmp_path / f"cells{suffix}")

    def damage(group):
        values = group[part][...]
        values[at] = value
        group[part][...] = values

    change(path, damage)
    with pytest.raises(bgf.CountsError, match=f"^X of '{path}' is damaged: {what}; copy or write"):
        read_from(path)


def test_pointers_that_leave_values_out(suffix, tmp_path):
    path = write(in_form(COUNTS, "CSR"), tmp_path / f"cells{suffix}")
    stored = np.count_nonzero(COUNTS)

    def damage(group):
        values = group["indptr"][...]
        values[-1] -= 1
        group["indptr"][...] = values

    change(path, damage)
    message = f"{stored} values are stored, but indptr ends at {stored - 1}"
    with pytest.raises(bgf.CountsError, match=message):
        read_from(path)


def test_a_chunk_that_a_zarr_store_lacks_is_not_read_as_zeros(tmp_path):
    pytest.importorskip("zarr")
    path = write(in_form(COUNTS, "CSR"), tmp_path / "cells.zarr")
    chunk = next(
        p for p in (path / "X" / "indices").rglob("*") if p.is_file() and "z" not in p.name
    )
    chunk.unlink()
    with pytest.raises(bgf.CountsError, match=r"some of the 1 chunks of its indices are missing"):
        read_from(path)


def test_a_damaged_matrix_beside_the_counts_is_no_hint():
    adata = anndata.AnnData(COUNTS + 0.5)
    adata.layers["damaged"] = sparse.csr_matrix(COUNTS)
    adata.layers["damaged"].indptr[1] = 10**9
    adata.layers["text"] = COUNTS.astype(str)
    with pytest.raises(bgf.CountsError, match=r"not whole numbers \(.*layer 'damaged' looks like"):
        checks.read_counts(adata)


def test_errors_of_other_packages_name_what_was_read():
    with (
        pytest.raises(ValueError, match=r"^X of 'a' cannot be read \(bad\); it may be damaged: "),
        matrices.reading("X of 'a'"),
    ):
        raise OSError("bad\nand more")
