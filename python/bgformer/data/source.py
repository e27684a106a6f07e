"""Cells somewhere: counts in memory or on disk, given out in the same blocks of rows."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from bgformer.data import readers
from bgformer.data.checks import MIN_CELLS, Check, find_counts, read_counts
from bgformer.data.counts import as_csr, row_block
from bgformer.runtime import block_sizes, ranks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anndata

    from bgformer.data.cells import Cells

_DENSE_VALUES = 2**25
"""Values read at once from a dense matrix, of which a block of cells may have many more."""
_FEW_VALUES = 2**25
"""Stored values that any machine has the memory for."""
_NAMES = 2**16
"""Names read at once."""


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

    def blocks(
        self, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield the number of the first cell of each block and its counts, CSR float32.

        Of all cells, or of those from `first` to before `last`. The first pass must be over all,
        or over the rank's own part of all; see `own_blocks`.

        Raises
        ------
        CountsError
            In the first pass: if a value is not a count, or a cell has none.
        """
        last = self.shape[0] if last is None else last
        for start in range(first, last, block_sizes.COUNTS):
            counts = self._rows(start, min(start + block_sizes.COUNTS, last))
            if self.check:
                self.check.block(start, counts)
            yield start, counts
        if self.check:
            self.check.end()
            self.check = None

    def _rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read some rows."""
        if hasattr(self.matrix, "format"):
            return as_csr(self.matrix[start:stop])
        step = max(1, _DENSE_VALUES // self.shape[1])
        parts = [as_csr(self.matrix[at : min(at + step, stop)]) for at in range(start, stop, step)]
        return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")


def own_blocks(source: InMemory | OnDisk) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """Yield the blocks that are this rank's to read: an equal part of all, none twice."""
    n = source.shape[0]
    each = -(-n // (block_sizes.COUNTS * ranks.count())) * block_sizes.COUNTS
    first = min(n, ranks.index() * each)
    yield from source.blocks(first, min(n, first + each))


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
    """

    def __init__(self, store: Any) -> None:
        self.obs = StoredTable(store["obs"])
        self.obs_names = _names(store["obs"])
        self.var_names = pd.Index(read_elem(store["var"]).index)
        self.n_obs, self.n_vars = len(self.obs_names), len(self.var_names)
        self.X = _matrix(store, "X")
        layers = store["layers"] if "layers" in store else {}
        self.layers = {name: _matrix(layers, name) for name in layers}
        self.raw = _Raw(_matrix(store, "raw/X")) if "raw/X" in store else None
        self.obsm = store["obsm"] if "obsm" in store else {}
        self._uns = store["uns"] if "uns" in store else {}

    @property
    def uns(self) -> dict[str, Any]:
        """What is in ``uns`` by its names: the results of bgformer, and None for all else."""
        return {
            name: read_elem(entry)
            if "anchor_clusters" in getattr(entry, "keys", tuple)()
            else None
            for name, entry in ((name, self._uns[name]) for name in self._uns)
        }


class _Raw:
    """The matrix of ``adata.raw``."""

    def __init__(self, X: Any) -> None:
        self.X = X


class StoredTable:
    """``obs`` on disk, whose columns are read one at a time."""

    def __init__(self, group: Any) -> None:
        self.group = group
        self.columns = [str(name) for name in group.attrs["column-order"]]
        self.index_name = str(group.attrs["_index"])

    def __contains__(self, name: str) -> bool:
        """Tell whether there is such a column."""
        return name in self.columns

    def __getitem__(self, name: str) -> pd.Series:
        """Read a column."""
        return pd.Series(read_elem(self.group[name]), name=name)


class StoredNames:
    """Unique names of cells on disk, read one at a time."""

    is_unique = True

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        """Return how many there are."""
        return self.dataset.shape[0]

    def __getitem__(self, at: int) -> str:
        """Read a name."""
        return str(_text(self.dataset[int(at) : int(at) + 1])[0])


def _names(table: Any) -> StoredNames | pd.Index:
    """Return the names of cells: on disk if they are unique, which their hashes show."""
    dataset = table[table.attrs["_index"]]
    if hasattr(dataset, "shape"):
        hashes = [
            pd.util.hash_array(_text(dataset[start : start + _NAMES]), categorize=False)
            for start in range(0, dataset.shape[0], _NAMES)
        ]
        if hashes and np.diff(np.sort(np.concatenate(hashes))).all():
            return StoredNames(dataset)
    return pd.Index(read_elem(dataset))


def _text(names: np.ndarray) -> np.ndarray:
    """Return names as Python's strings, whichever way the store gives them."""
    texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return np.array(texts, dtype=object)


def _matrix(group: Any, name: str) -> Any:
    """Return a stored matrix so that rows can be read from it; None if there is none."""
    if name not in group or group[name].attrs.get("encoding-type") == "null":
        return None
    return group[name] if hasattr(group[name], "shape") else sparse_dataset(group[name])


@contextmanager
def opened(cells: anndata.AnnData | str | Path) -> Iterator[anndata.AnnData | StoredCells]:
    """Give an AnnData as it is; open an .h5ad file or a .zarr store; read any other file.

    Raises
    ------
    FileNotFoundError, ValueError
        See `readers.read`.
    """
    path = Path(cells) if isinstance(cells, str | Path) else None
    if path is None or not _is_store(path):
        yield readers.as_anndata(cells)
        return
    store = None
    try:
        try:
            store = h5py.File(path) if path.is_file() else _zarr_group(path)
            is_current = "encoding-type" in store.attrs  # written by anndata 0.8 or later
            stored = StoredCells(store) if is_current else readers.read(path)
        except Exception as error:  # h5py, zarr and anndata each raise their own kinds
            raise readers.unreadable(path, error) from error
        yield stored
    finally:
        if isinstance(store, h5py.File):
            store.close()


def _is_store(path: Path) -> bool:
    """Tell whether a path is that of an .h5ad file or a .zarr store."""
    return (path.suffix == ".h5ad" and path.is_file()) or (
        path.suffix == ".zarr" and path.is_dir()
    )


def _zarr_group(path: Path) -> Any:
    """Open a .zarr store."""
    import zarr

    return zarr.open_group(path, mode="r")
