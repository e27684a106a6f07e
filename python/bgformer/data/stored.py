"""Tables, names and matrices in an .h5ad file or a .zarr store, read when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset

from bgformer.data.matrices import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = 2**16
"""Names read at once."""


def is_store(path: Path) -> bool:
    """Tell whether a path is that of an .h5ad file or a .zarr store."""
    return (path.suffix == ".h5ad" and path.is_file()) or (
        path.suffix == ".zarr" and path.is_dir()
    )


def open_store(path: Path, *, use_consolidated: bool | None = None) -> Any:
    """Open an .h5ad file or a .zarr store for reading.

    What is in a store is looked up in its consolidated listing if there is one, unless that is
    False.
    """
    if path.is_file():
        return h5py.File(path)
    import zarr

    return zarr.open_group(path, mode="r", use_consolidated=use_consolidated)


class StoredTable:
    """``obs`` on disk, whose columns are read one at a time.

    Parameters
    ----------
    group
        Where the columns are.
    path
        The file or store, for messages.
    """

    def __init__(self, group: Any, path: Path) -> None:
        self.group, self._path = group, path
        self.columns = [str(name) for name in group.attrs["column-order"]]
        self.index_name = str(group.attrs["_index"])

    def __contains__(self, name: str) -> bool:
        """Tell whether there is such a column."""
        return name in self.columns

    def __getitem__(self, name: str) -> pd.Series:
        """Read a column."""
        with reading(f"column '{name}' of obs of '{self._path}'"):
            return pd.Series(read_elem(self.group[name]), name=name)


class StoredNames:
    """Unique names of cells on disk, read when they are asked for.

    Parameters
    ----------
    dataset
        Where the names are.
    path
        The file or store, for messages.
    """

    is_unique = True

    def __init__(self, dataset: Any, path: Path) -> None:
        self.dataset, self._path = dataset, path

    def __len__(self) -> int:
        """Return how many there are."""
        return self.dataset.shape[0]

    def __getitem__(self, at: int) -> str:
        """Read a name."""
        with reading(f"a cell name of '{self._path}'"):
            return str(text(self.dataset[int(at) : int(at) + 1])[0])

    def __iter__(self) -> Iterator[str]:
        """Read all names, some at a time."""
        for start in range(0, len(self), _NAMES):
            with reading(f"the cell names of '{self._path}'"):
                block = text(self.dataset[start : start + _NAMES])
            yield from block


def names(table: Any, path: Path) -> StoredNames | pd.Index:
    """Return the names of cells: on disk if they are unique, which their hashes show."""
    dataset = table[table.attrs["_index"]]
    if hasattr(dataset, "shape"):
        hashes = [
            pd.util.hash_array(text(dataset[start : start + _NAMES]), categorize=False)
            for start in range(0, dataset.shape[0], _NAMES)
        ]
        if hashes and np.diff(np.sort(np.concatenate(hashes))).all():
            return StoredNames(dataset, path)
    return pd.Index(read_elem(dataset))


def text(values: np.ndarray) -> np.ndarray:
    """Return names as Python's strings, whichever way the store gives them."""
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    return np.array(texts, dtype=object)


def matrix(group: Any, name: str) -> Any:
    """Return a stored matrix so that rows can be read from it; None if there is none."""
    if name not in group or group[name].attrs.get("encoding-type") == "null":
        return None
    return group[name] if hasattr(group[name], "shape") else sparse_dataset(group[name])
