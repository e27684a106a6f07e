"""Matrices as they are given: their form and type, checked before any other package uses them."""

from __future__ import annotations

import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


class CountsError(InputError):
    """The count matrix, or the names that go with it, cannot be used."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise what other packages raise while `what` is read as one sentence that names it.

    Raises
    ------
    InputError
        If anything else is raised inside; h5py, zarr and anndata each raise their own kinds.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "unreadable-part",
            "{what} cannot be read ({reason}); it may be damaged: copy or write it again.",
            what=what,
            reason=reason(error),
        ) from error


def reason(error: Exception) -> str:
    """Return what an error of another package says, in one line without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0], 200, placeholder=" ...").rstrip(".:")


def as_csr(matrix: object, where: str) -> sparse.csr_matrix:
    """Return any matrix of an AnnData as canonical CSR; do not write to the result.

    The values are those of the matrix to the last digit, so that they can be checked: float32, or
    the type of the matrix if that holds more.

    Parameters
    ----------
    matrix
        Cells x genes, dense or sparse, in memory or from `anndata.io.sparse_dataset`.
    where
        What the matrix is called in messages.

    Raises
    ------
    CountsError
        If the values are not real numbers, some are masked, or the indices do not fit the shape.
    """
    if hasattr(matrix, "to_memory"):  # a backed sparse data set
        check_stored(matrix, where)
        matrix = matrix.to_memory()
    if not sparse.issparse(matrix):
        if isinstance(matrix, np.ma.MaskedArray) and np.any(matrix.mask):
            raise CountsError(
                "masked-values",
                "{where} has masked values; fill them, e.g. with numpy.ma.filled(matrix, 0).",
                where=where,
            )
        counts = sparse.csr_matrix(_real(np.asarray(matrix), where))
    else:
        counts = sparse.csr_matrix(_sound(matrix, where))
    if counts.has_canonical_format and counts.data.all():
        return counts  # only read from here on, so it may share the caller's memory
    # Equal indices are added up, which a small type might not have the digits for.
    counts = counts.copy() if counts.has_canonical_format else counts.astype(np.float64)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def in_single_precision(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return checked counts as float32, which holds them exactly."""
    if counts.dtype == np.float32:
        return counts
    values = counts.data.astype(np.float32)
    return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def check_stored(matrix: Any, where: str) -> None:
    """Raise CountsError unless the arrays of a sparse matrix in a file fit each other."""
    group = getattr(matrix, "group", None)
    if group is not None:  # else from R, which wrote it for us
        check_arrays(group, matrix.shape[0 if matrix.format == "csr" else 1], where)


def check_arrays(group: Any, n_rows: int, where: str) -> None:
    """Raise CountsError unless the arrays in a group can be those of a matrix of so many rows.

    The indices, of which there are many, are checked when they are read.
    """
    pointers = group["indptr"][...]
    lengths = [group[name].shape[0] for name in ("data", "indices")]
    _check_pointers(pointers, n_rows, lengths, where)
    if pointers[-1] != lengths[0]:
        raise _damaged(where, f"{lengths[0]} values are stored, but indptr ends at {pointers[-1]}")
    for name in ("data", "indices"):
        n_chunks = getattr(group[name], "nchunks", 0)  # zarr reads a missing chunk as zeros
        if n_chunks and group[name].nchunks_initialized < n_chunks:
            raise _damaged(where, f"some of the {n_chunks} chunks of its {name} are missing")


def check_range(indices: np.ndarray, size: int, where: str) -> None:
    """Raise CountsError unless all indices are from 0 to `size` - 1."""
    if indices.dtype.kind not in "iu":
        raise _damaged(where, f"its indices are of type {indices.dtype}")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise _damaged(where, f"it has the index {wrong}, where 0 to {size - 1} are possible")


def _sound(matrix: Any, where: str) -> Any:
    """Return a sparse matrix whose conversion to CSR touches only its own memory.

    SciPy checks no index, and reads or writes beyond its arrays if one is wrong.
    """
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocoo()
        for at, size in zip((matrix.row, matrix.col), matrix.shape, strict=True):
            check_range(at, size, where)
        return sparse.coo_matrix(
            (_real(matrix.data, where), (_native(matrix.row), _native(matrix.col))),
            shape=matrix.shape,
        )
    by_row = matrix.format == "csr"
    n_rows, n_columns = matrix.shape if by_row else matrix.shape[::-1]
    _check_pointers(matrix.indptr, n_rows, [len(matrix.data), len(matrix.indices)], where)
    check_range(matrix.indices, n_columns, where)
    values, indices = _real(matrix.data, where), _native(matrix.indices)
    pointers = _native(matrix.indptr)
    if pointers[-1] <= np.iinfo(indices.dtype).max:
        # of two types, SciPy would copy the indices to look at them
        pointers = pointers.astype(indices.dtype, copy=False)
    parts = (values, indices, pointers)
    if all(
        one is other
        for one, other in zip(parts, (matrix.data, matrix.indices, matrix.indptr), strict=True)
    ):
        return matrix
    return (sparse.csr_matrix if by_row else sparse.csc_matrix)(parts, shape=matrix.shape)


def _check_pointers(pointers: np.ndarray, n_rows: int, lengths: list[int], where: str) -> None:
    """Raise CountsError unless each row starts where the one before ends, within the arrays."""
    if pointers.dtype.kind not in "iu" or len(pointers) != n_rows + 1:
        raise _damaged(
            where, f"indptr has {len(pointers)} {pointers.dtype} values for {n_rows} rows"
        )
    if pointers[0] != 0 or (pointers[1:] < pointers[:-1]).any():
        raise _damaged(where, "indptr does not start at 0, or falls")
    if lengths[0] != lengths[1] or pointers[-1] > lengths[0]:
        raise _damaged(
            where,
            f"it has {lengths[0]} values and {lengths[1]} indices, and indptr ends at "
            f"{pointers[-1]}",
        )


def _damaged(where: str, what: str) -> CountsError:
    """Return the error that a sparse matrix is not one."""
    return CountsError(
        "damaged-matrix",
        "{where} is damaged: {what}; copy or write it again.",
        where=where,
        what=what,
    )


def _real(values: np.ndarray, where: str) -> np.ndarray:
    """Return real numbers in a type that SciPy computes with, none of them rounded."""
    if values.dtype.kind not in "biuf":
        raise CountsError(
            "wrong-type",
            "{where} holds values of type {dtype}, which is not one of real numbers; convert them "
            "to whole numbers, e.g. with astype('int32').",
            where=where,
            dtype=values.dtype,
        )
    if values.dtype.kind == "b" or values.dtype.newbyteorder("=") == np.float16:
        return values.astype(np.float32)
    return _native(values)


def _native(values: np.ndarray) -> np.ndarray:
    """Return an array in the byte order of this machine."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
