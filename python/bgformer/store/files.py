"""Results written into a copy of the file that the cells are in, without reading its matrices."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from bgformer.store.results import latent_name, umap_name, weights_name

if TYPE_CHECKING:
    from pathlib import Path

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
    """

    def __init__(self, source: Path, copy: Path, key: str) -> None:
        self._source, self._copy = source, copy
        self._latent, self._weights, self._umap = (
            latent_name(key),
            weights_name(key),
            umap_name(key),
        )
        self._store: Any = None

    def __enter__(self) -> StoredResults:
        """Give itself; nothing is copied yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the copy."""
        if isinstance(self._store, h5py.File):
            self._store.close()
        elif self._store is not None and kind is None:
            _consolidate(self._copy)

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Make room for the latent and the weights on anchors."""
        if self._store is None:
            self._store = _copied(self._source, self._copy)
            for name in ("obsm", "uns"):
                if name not in self._store:
                    write_elem(self._store, name, {})
        obsm = self._store["obsm"]
        if self._umap in obsm:  # drawn from an earlier latent
            del obsm[self._umap]
        # anndata writes what is empty, with all that says what it is, and it grows from there.
        room: dict[str, Any] = {"chunks": (max(1, _CHUNK // n_latent), n_latent)}
        if isinstance(self._store, h5py.File):
            room["maxshape"] = (None, n_latent)
        nothing = np.empty((0, n_latent), dtype=np.float32)
        write_elem(obsm, self._latent, nothing, dataset_kwargs=room)
        obsm[self._latent].resize((n_cells, n_latent))
        nothing = sparse.csr_matrix((0, n_anchors))
        write_elem(obsm, self._weights, nothing, dataset_kwargs={"chunks": (_CHUNK,)})
        self._n_written = 0

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Write the next cells, b x d and CSR b x m."""
        obsm = self._store["obsm"]
        stop = self._n_written + len(latent)
        obsm[self._latent][self._n_written : stop] = latent
        sparse_dataset(obsm[self._weights]).append(weights)
        self._n_written = stop

    def end(self) -> tuple[Any, Any]:
        """Return latent and weights, from which rows are read as from arrays."""
        obsm = self._store["obsm"]
        return obsm[self._latent], sparse_dataset(obsm[self._weights])

    def describe(self, key: str, columns: dict[str, Any], stored: dict[str, Any]) -> None:
        """Write columns of ``obs``, by their names, and an entry of ``uns``."""
        obs = self._store["obs"]
        order = [str(name) for name in obs.attrs["column-order"]]
        for name, values in columns.items():
            write_elem(obs, name, values)
        order += [name for name in columns if name not in order]
        is_hdf5 = isinstance(self._store, h5py.File)
        obs.attrs["column-order"] = np.array(order, h5py.string_dtype()) if is_hdf5 else order
        write_elem(self._store["uns"], key, stored)


def _copied(source: Path, copy: Path) -> Any:
    """Copy a file or store and open the copy for writing."""
    if source.is_dir():
        import zarr

        shutil.copytree(source, copy)
        # A consolidated listing could not be changed; `_consolidate` writes it again in the end.
        return zarr.open_group(copy, mode="r+", use_consolidated=False)
    shutil.copyfile(source, copy)
    return h5py.File(copy, "r+")


def _consolidate(store: Path) -> None:
    """List all that is in a .zarr store in one place, as anndata does."""
    import zarr

    zarr.consolidate_metadata(store)
