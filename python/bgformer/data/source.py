"""Cells somewhere: counts in memory or on disk, given out in the same blocks of rows."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from bgformer.data import readers, stored
from bgformer.data.checks import MIN_CELLS, Check, find_counts, read_counts
from bgformer.data.counts import row_block
from bgformer.data.matrices import as_csr, check_stored, in_single_precision, reading
from bgformer.messages import InputError
from bgformer.runtime import block_sizes, ranks
from bgformer.runtime.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anndata

    from bgformer.data.cells import Cells

_DENSE_VALUES = 2**25
"""Values read at once from a dense matrix, of which a block of cells may have many more."""
_FEW_VALUES = 2**25
"""Stored values that any machine has the memory for."""


class InMemory:
    """Counts in memory, checked when they were read.

    Parameters
    ----------
    counts
        As from `checks.read_counts`, n cells x g genes.
    """

    def __init__(self, counts: sparse.csr_matrix) -> None:
        self.counts, self.shape = counts, counts.shape

    def blocks(
        self, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield the number of the first cell of each block and its counts, CSR float32.

        Of all cells, or of those from `first` to before `last`.
        """
        last = self.shape[0] if last is None else last
        for start in range(first, last, block_sizes.COUNTS):
            yield start, row_block(self.counts, start, min(start + block_sizes.COUNTS, last))

    def some(self, rows: np.ndarray) -> sparse.csr_matrix:
        """Return the counts of the cells with these numbers, ascending."""
        return self.counts if len(rows) == self.shape[0] else self.counts[rows]


class OnDisk:
    """Counts on disk, of which no more than a block is in memory; the first pass checks them.

    Parameters
    ----------
    matrix
        n cells x g genes that rows can be read from: anndata's CSR data set, or an array.
    check
        What looks at every block of the first pass.
    """

    def __init__(self, matrix: Any, check: Check) -> None:
        self.matrix, self.shape = matrix, tuple(matrix.shape)
        self.check: Check | None = check
        self._place = check.place
        if hasattr(matrix, "format"):
            with reading(self._place):
                check_stored(matrix, self._place)
        group = getattr(matrix, "group", None)  # what is from R has none
        self._stored = matrix if group is None else _StoredParts(group, self.shape)

    def blocks(
        self, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield the number of the first cell of each block and its counts, CSR float32.

        Of all cells, or of those from `first` to before `last`. The first pass must be over all,
        or over the rank's own part of all; see `some`.

        Raises
        ------
        CountsError
            In the first pass: if a value is not a count, or a cell has none.
        InputError
            If rows cannot be read.
        """
        last = self.shape[0] if last is None else last
        starts = range(first, last, block_sizes.COUNTS)
        blocks = ahead(lambda at: self._rows(at, min(at + block_sizes.COUNTS, last)), starts)
        for start, counts in zip(starts, blocks, strict=True):
            if self.check:
                self.check.block(start, counts)
            yield start, in_single_precision(counts)
        if self.check:
            self.check.end()
            self.check = None

    def some(self, rows: np.ndarray) -> sparse.csr_matrix:
        """Return the counts of the cells with these numbers, ascending, from one pass over all.

        Each rank reads its own part of the cells, and gets what all have read.
        """
        taken = [sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)]
        for start, counts in self._own_blocks():
            first, last = np.searchsorted(rows, [start, start + counts.shape[0]])
            taken.append(counts[rows[first:last] - start])
        return ranks.gathered_rows(sparse.vstack(taken, format="csr"))

    def _own_blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield the blocks that are this rank's to read: an equal part of all, none twice."""
        n = self.shape[0]
        each = -(-n // (block_sizes.COUNTS * ranks.count())) * block_sizes.COUNTS
        first = min(n, ranks.index() * each)
        yield from self.blocks(first, min(n, first + each))

    def _rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read some rows, with values as they are stored."""
        is_sparse = hasattr(self.matrix, "format")
        step = stop - start if is_sparse else max(1, _DENSE_VALUES // self.shape[1])
        with reading(self._place):
            parts = [
                as_csr(self._stored[at : min(at + step, stop)], self._place)
                for at in range(start, stop, step)
            ]
        return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")


class _StoredParts:
    """Rows of a CSR matrix in a file. To slice anndata's data set takes three times as long.

    Parameters
    ----------
    group
        Group of HDF5 or zarr with ``data``, ``indices`` and ``indptr``, which were checked.
    shape
        Number of rows and columns.
    """

    def __init__(self, group: Any, shape: tuple[int, int]) -> None:
        self._data, self._indices = group["data"], group["indices"]
        self._indptr, self._n_columns = group["indptr"][...], shape[1]

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """Return consecutive rows."""
        pointers = self._indptr[rows.start : rows.stop + 1].astype(np.int64)
        own = slice(int(pointers[0]), int(pointers[-1]))
        parts = self._data[own], self._indices[own], pointers - own.start
        return sparse.csr_matrix(parts, shape=(len(pointers) - 1, self._n_columns), copy=False)


def source_of(
    adata: Cells, layer: str | None = None, min_cells: int = MIN_CELLS
) -> InMemory | OnDisk:
    """Return the counts of some cells, to be read in blocks; `adata` itself is not changed.

    Parameters
    ----------
    adata
        Cells x genes: an AnnData, in memory or backed, or an open file.
    layer
        Name of the layer that holds the counts; None for ``X``.
    min_cells
        Least number of cells.

    Raises
    ------
    CountsError
        See `checks.read_counts`; of counts on disk, the values are checked by the first pass.
    """
    matrix: Any = find_counts(adata, layer, min_cells)
    by_gene = getattr(matrix, "format", None) == "csc"
    if not _is_on_disk(matrix) or by_gene:
        if _is_on_disk(matrix) and matrix.group["data"].shape[0] > _FEW_VALUES:
            warnings.warn(
                "the counts are stored by gene (CSC) and so must be read into memory as a whole; "
                "to save that, store them by cell: adata.X = adata.X.tocsr() before writing.",
                stacklevel=3,
            )
        return InMemory(read_counts(adata, layer, min_cells))
    return OnDisk(matrix, Check(adata, layer))


def _is_on_disk(matrix: object) -> bool:
    """Tell whether a matrix is one that rows are read from when they are asked for."""
    is_zarr_array = type(matrix).__module__.split(".")[0] == "zarr"  # which need not be installed
    return isinstance(matrix, h5py.Dataset) or hasattr(matrix, "to_memory") or is_zarr_array


class StoredCells:
    """An .h5ad file or a .zarr store, of which only what is asked for is read.

    Has what counts are found and checked by under the names that AnnData has for it.

    Parameters
    ----------
    store
        The open file or store.
    path
        Where it is.
    """

    def __init__(self, store: Any, path: Path) -> None:
        self.filename: Path | None = path
        self.obs = stored.StoredTable(store["obs"], path)
        self.obs_names = stored.names(store["obs"], path)
        self.var_names = pd.Index(read_elem(store["var"]).index)
        self.n_obs, self.n_vars = len(self.obs_names), len(self.var_names)
        self.X = self._matrix(store, "X")
        layers = store["layers"] if "layers" in store else {}
        self.layers = {name: self._matrix(layers, name) for name in layers}
        self.raw = _Raw(stored.matrix(store, "raw/X")) if "raw/X" in store else None
        self.obsm = store["obsm"] if "obsm" in store else {}
        self._uns = store["uns"] if "uns" in store else {}

    def _matrix(self, group: Any, name: str) -> Any:
        """Return a matrix of all cells and genes; None if there is none."""
        found = stored.matrix(group, name)
        if found is not None and tuple(found.shape) != (self.n_obs, self.n_vars):
            raise ValueError(
                f"{name} has the shape {tuple(found.shape)}, but {self.n_obs} cells and "
                f"{self.n_vars} genes are named"
            )
        return found

    @property
    def uns(self) -> dict[str, Any]:
        """What is in ``uns`` by its names: the results of bgformer, and None for all else."""
        with reading(f"uns of '{self.filename}'"):
            return {
                name: read_elem(entry)
                if "anchor_clusters" in getattr(entry, "keys", tuple)()
                else None
                for name, entry in ((name, self._uns[name]) for name in self._uns)
            }

    def read_uns(self, name: str) -> Any:
        """Read an entry of ``uns``; None if there is none."""
        with reading(f"uns of '{self.filename}'"):
            return read_elem(self._uns[name]) if name in self._uns else None


class _Raw:
    """The matrix of ``adata.raw``."""

    def __init__(self, X: Any) -> None:
        self.X = X


@contextmanager
def opened(cells: anndata.AnnData | str | Path) -> Iterator[anndata.AnnData | StoredCells]:
    """Give an AnnData as it is; open an .h5ad file or a .zarr store; read any other file.

    Raises
    ------
    FileNotFoundError, PermissionError, InputError
        See `readers.read`.
    """
    path = Path(cells) if isinstance(cells, str | Path) else None
    if path is not None:
        readers.check_access(path)
    if path is None or not stored.is_store(path):
        yield readers.as_anndata(cells)
        return
    store = None
    try:
        try:
            store = stored.open_store(path)
            is_current = "encoding-type" in store.attrs  # written by anndata 0.8 or later
            found = StoredCells(store, path) if is_current else readers.read(path)
        except InputError:
            raise
        except Exception as error:  # h5py, zarr and anndata each raise their own kinds
            raise readers.unreadable(path, error) from error
        yield found
    finally:
        if isinstance(store, h5py.File):
            store.close()
