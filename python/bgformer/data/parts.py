"""The parts of a file that are copied and not used: whether anndata could read the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata.io import read_elem, sparse_dataset

from bgformer.data.cells import PARTS
from bgformer.data.matrices import check_stored, reading
from bgformer.data.stored import open_store, text
from bgformer.messages import InputError

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE = 2**22
"""Values read at once."""
_AXES = {
    "X": ("obs", "var"),
    "layers": ("obs", "var"),
    "obsm": ("obs",),
    "obsp": ("obs", "obs"),
    "varm": ("var",),
    "varp": ("var", "var"),
}
"""The tables that the axes of a part, or of all in it, have the lengths of."""


def check_parts(path: Path, read_later: str | None = None) -> None:
    """Raise unless all parts of an .h5ad file or a .zarr store can be read.

    Parameters
    ----------
    path
        The file or store, as anndata 0.8 or later writes it.
    read_later
        Place of the counts, such as ``X``, if the fit reads and checks their values, which are
        then not read here.

    Raises
    ------
    InputError
        Names the first part that cannot be read.
    """
    with reading(f"'{path}'"):
        store = open_store(path, use_consolidated=False)  # as the copy, which is listed again
        try:
            dict(store.attrs)  # that they can be read
            parts = _Parts(path, read_later)
            for name in ("obs", "var", *store):
                if name not in PARTS:
                    raise InputError(
                        "unknown-part",
                        "'{path}' has a part '{part}', which is none of an AnnData, so that "
                        "anndata could not read the output; remove it.",
                        path=path,
                        part=name,
                    )
                parts.check(store, name, name)
        finally:
            if isinstance(store, h5py.File):
                store.close()


class _Parts:
    """What is known of the parts that have been checked.

    Parameters
    ----------
    path
        The file or store, for messages.
    read_later
        The part whose values are read later, if there is one.
    """

    def __init__(self, path: Path, read_later: str | None) -> None:
        self._path, self._read_later = path, read_later
        self._lengths: dict[str, int] = {}

    def check(self, group: Any, child: str, name: str) -> None:
        """Raise InputError unless a part of a group, and all that is in it, can be read."""
        with reading(f"{name} of '{self._path}'"):
            part = group[child]
            kind = str(dict(part.attrs).get("encoding-type", ""))
            self._check_axes(part, name, kind)
            if kind == "dataframe":
                self._check_table(part, name)
            if kind in ("csr_matrix", "csc_matrix"):
                check_stored(sparse_dataset(part), f"{name} of '{self._path}'")
            is_counts = self._read_later is not None and f"{name}/".startswith(
                f"{self._read_later}/"
            )
            if not is_counts and _is_small(part):
                read_elem(part)
                for below in part if name in _AXES and name != "X" else ():
                    self.check(part, below, f"{name}/{below}")
            elif not hasattr(part, "shape"):
                for below in part:
                    self.check(part, below, f"{name}/{below}")
            elif not is_counts:
                _read_values(part)

    def _check_axes(self, part: Any, name: str, kind: str) -> None:
        """Raise ValueError unless a part has as many rows, and columns, as there are names."""
        top, _, rest = name.partition("/")
        is_matrix = name == "X" or (top != "X" and rest and "/" not in rest)
        axes = _AXES.get(top, ()) if is_matrix else ()
        lengths = tuple(self._lengths[axis] for axis in axes)
        found = _shape(part, kind)[: len(lengths)]
        if kind != "null" and found != lengths:
            raise ValueError(f"its shape begins with {found} and not with {lengths}")

    def _check_table(self, table: Any, name: str) -> None:
        """Raise ValueError unless a table has all of its columns, of one length."""
        index = str(table.attrs["_index"])
        columns = [str(column) for column in table.attrs["column-order"]]
        self._lengths[name] = length = _length(table[index])
        for column in columns:
            if _length(table[column]) != length:
                raise ValueError(
                    f"column '{column}' has {_length(table[column])} values for {length} rows"
                )


def _length(column: Any) -> int:
    """Return the number of values of a column, which may be a group of arrays."""
    if hasattr(column, "shape"):
        return int(column.shape[0])
    return int(column["codes" if "codes" in column else "values"].shape[0])


def _shape(part: Any, kind: str) -> tuple[int, ...]:
    """Return the shape of an array, a sparse matrix or a table; nothing for others."""
    if hasattr(part, "shape"):
        return tuple(int(size) for size in part.shape)
    if kind == "dataframe":
        return (_length(part[str(part.attrs["_index"])]),)
    return tuple(int(size) for size in part.attrs.get("shape", ()))


def _is_small(part: Any) -> bool:
    """Tell whether all that is in a part can be in memory at once."""
    if hasattr(part, "shape"):
        return bool(part.size <= _AT_ONCE)
    return all(_is_small(part[name]) for name in part)


def _read_values(array: Any) -> None:
    """Read a large array a part at a time."""
    if isinstance(array, h5py.Dataset) and _is_plain(array):
        return
    step = max(1, _AT_ONCE // max(1, array.size // array.shape[0]))
    for start in range(0, array.shape[0], step):
        values = array[start : start + step]
        if values.dtype.kind == "O":
            text(np.ravel(values))


def _is_plain(array: h5py.Dataset) -> bool:
    """Tell whether all bytes of an array are in the file, as numbers that are not compressed.

    Any bytes are such numbers, so there is no need to read them.
    """
    if array.dtype.hasobject or array.dtype.kind not in "biuf" or array.chunks is not None:
        return False
    end = (array.id.get_offset() or 0) + array.id.get_storage_size()
    return end <= array.file.id.get_filesize() and array.id.get_storage_size() == array.nbytes
