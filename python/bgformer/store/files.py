"""Results in the file that the cells are in: read from it, and written into a copy of it.

Neither reads the counts.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse

from bgformer.data.matrices import as_csr, reading
from bgformer.store import copies
from bgformer.store.looks import colours_name
from bgformer.store.naming import outlier_name
from bgformer.store.results import latent_name, umap_name, weights_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bgformer.data.source import StoredCells

_CHUNK = 2**16
"""Values in a chunk of what is written."""


class StoredResults:
    """A copy of an .h5ad file or a .zarr store that takes results a block of cells at a time.

    To be used in a ``with`` statement. The copy is made when the first results are there, so that
    cells that cannot be clustered are not copied. It is one of `places.Places`.

    Parameters
    ----------
    source
        Where the cells are.
    copy
        The copy to make.
    key
        Name of the results.
    output
        What the copy will be renamed to, for messages.

    Raises
    ------
    OSError
        If there is no room for the copy, at once or, if that shows later, from any method.
    """

    def __init__(self, source: Path, copy: Path, key: str, output: Path) -> None:
        self._source, self._copy, self._output = source, copy, output
        self._key, self._latent, self._weights = key, latent_name(key), weights_name(key)
        self._umap, self._outlier = umap_name(key), outlier_name(key)
        self._store: copies.Hdf5 | copies.Zarr | None = None

    def __enter__(self) -> StoredResults:
        """Give itself; nothing is copied yet."""
        copies.check_room(self._source, self._output)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the copy."""
        if self._store is not None:
            with copies.writing(self._output):
                self._store.close(complete=kind is None)

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Make room for the latent and the weights on anchors."""
        self._n_written = 0
        self._write(self._make_room, n_cells, n_latent, n_anchors)

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Write the next cells, b x d and CSR b x m."""
        self._write(self._append, latent, weights)
        self._n_written += len(latent)

    def end(self) -> tuple[Any, Any]:
        """Return latent and weights, from which rows are read as from arrays."""
        return self._write(self._written)

    def describe(self, columns: dict[str, Any], entries: dict[str, Any]) -> None:
        """Write columns of ``obs`` and entries of ``uns``, by their names."""
        self._write(self._describe, columns, entries)

    def update(self, key: str, changed: dict[str, Any]) -> None:
        """Write parts of an entry of ``uns``, by their names."""
        self._write(self._update, key, changed)

    def _write(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let the copy do what a method with the open copy as first argument does."""
        with copies.writing(self._output):
            if self._store is None:
                self._store = copies.copied(self._source, self._copy)
            return self._store.run(function, self._store.root, *arguments)

    def _make_room(self, store: Any, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Write empty results."""
        for name in ("obsm", "uns"):
            if name not in store:
                write_elem(store, name, {})
        obsm = store["obsm"]
        if self._umap in obsm:  # drawn from an earlier latent, maybe with a copy for scanpy
            drawn = obsm[self._umap][...]
            del obsm[self._umap]
            others = obsm.get("X_umap")
            if getattr(others, "shape", None) == drawn.shape and (others[...] == drawn).all():
                del obsm["X_umap"]
        # anndata writes what is empty, with all that says what it is, and it grows from there.
        room: dict[str, Any] = {"chunks": (max(1, _CHUNK // n_latent), n_latent)}
        if isinstance(store, h5py.File):
            room["maxshape"] = (None, n_latent)
        nothing = np.empty((0, n_latent), dtype=np.float32)
        write_elem(obsm, self._latent, nothing, dataset_kwargs=room)
        obsm[self._latent].resize((n_cells, n_latent))
        nothing = sparse.csr_matrix((0, n_anchors))
        write_elem(obsm, self._weights, nothing, dataset_kwargs={"chunks": (_CHUNK,)})

    def _append(self, store: Any, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Write the next cells."""
        obsm = store["obsm"]
        obsm[self._latent][self._n_written : self._n_written + len(latent)] = latent
        sparse_dataset(obsm[self._weights]).append(weights)

    def _written(self, store: Any) -> tuple[Any, Any]:
        """Return latent and weights, when all of them are on the disk."""
        if isinstance(store, h5py.File):
            store.flush()
        obsm = store["obsm"]
        return obsm[self._latent], sparse_dataset(obsm[self._weights])

    def _update(self, store: Any, key: str, changed: dict[str, Any]) -> None:
        """Write parts of an entry of ``uns``."""
        for name, value in changed.items():
            write_elem(store["uns"][key], name, value)

    def _describe(self, store: Any, columns: dict[str, Any], entries: dict[str, Any]) -> None:
        """Write entries of ``uns``, and columns of ``obs`` after those that are there."""
        for name, entry in entries.items():
            write_elem(store["uns"], name, entry)
        obs = store["obs"]
        if self._key in entries and self._outlier not in columns:  # of new cells alone
            self._drop_column(obs, self._outlier)
        order = [str(name) for name in obs.attrs["column-order"]]
        for name, values in columns.items():
            write_elem(obs, name, values)
        _set_order(obs, order + [name for name in columns if name not in order])

    def _drop_column(self, obs: Any, name: str) -> None:
        """Remove a column of ``obs``, if it is there."""
        if name in obs:
            del obs[name]
            _set_order(obs, [one for one in map(str, obs.attrs["column-order"]) if one != name])


def _set_order(obs: Any, order: list[str]) -> None:
    """Write the order of the columns of ``obs``."""
    in_hdf5 = isinstance(obs, h5py.Group)
    obs.attrs["column-order"] = np.array(order, h5py.string_dtype()) if in_hdf5 else order


def read_results(cells: StoredCells, key: str, columns: Iterable[str] = ()) -> AnnData:
    """Read the table of cells, and their results of one name, but no counts.

    What is missing is left out, for `reading.results` to name it.

    Parameters
    ----------
    cells
        The open file.
    key
        Name of the results.
    columns
        Other columns of ``obs`` whose colours are read.

    Raises
    ------
    InputError
        If a part cannot be read.
    """
    with reading(f"obs of '{cells.filename}'"):
        obs = read_elem(cells.obs.group)
    obsm = {}
    for name in (latent_name(key), weights_name(key)):
        where = f"obsm/{name} of '{cells.filename}'"
        if name in cells.obsm:
            with reading(where):
                obsm[name] = read_elem(cells.obsm[name])
            if sparse.issparse(obsm[name]):
                as_csr(obsm[name], where)  # checks the indices, which SciPy does not
    colours = {name: cells.read_uns(name) for name in map(colours_name, (key, *columns))}
    return AnnData(obs=obs, obsm=obsm, uns=cells.uns | colours)


def write_cells(cells: AnnData, path: Path, output: Path) -> None:
    """Write cells as `AnnData.write_h5ad` or `write_zarr` does, and survive a full disk.

    Parameters
    ----------
    cells
        What to write.
    path
        The file or store to write.
    output
        What it will be renamed to, by whose ending it is a file or a store.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    cells.strings_to_categoricals()
    with copies.writing(output):
        if output.suffix == ".zarr":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Writing zarr v2")  # of anndata's default
                cells.write_zarr(path)
            return
        file = copies.Hdf5(path, "w")
        complete = False
        try:
            file.run(write_elem, file.root, "/", cells)
            complete = True
        finally:
            file.close(complete=complete)
