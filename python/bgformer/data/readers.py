"""Cells from files: .h5ad, .zarr, 10x .h5, and folders in matrix-market form."""

from __future__ import annotations

import gzip
import os
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import pandas as pd
from scipy import io, sparse

from bgformer.data.matrices import check_arrays, check_range, reading, reason
from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE = 2**24
"""Indices of a 10x file checked at once."""


def as_anndata(source: anndata.AnnData | str | Path) -> anndata.AnnData:
    """Return an AnnData as it is, or read one from a file or a folder."""
    if isinstance(source, anndata.AnnData):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(
            f"adata is a {type(source).__name__}; give an AnnData or the path of a file."
        )
    return read(source)


def read(source: str | Path) -> anndata.AnnData:
    """Read cells from a file or a folder.

    Parameters
    ----------
    source
        An .h5ad file, a .zarr store, a 10x .h5 file (Cell Ranger 2 or later), or a folder with
        matrix.mtx, barcodes.tsv and features.tsv (Cell Ranger 3) or genes.tsv (Cell Ranger 2),
        each gzipped or not. Of a 10x experiment with several kinds of features, gene expression is
        kept.

    Returns
    -------
    Cells x genes. Gene names that stand twice in a 10x file get a suffix ("A", "A-1").

    Raises
    ------
    FileNotFoundError
        If there is no such file, or the folder lacks one of the three.
    PermissionError
        If it may not be read.
    InputError
        If it is of another kind, or damaged.
    """
    path = Path(source)
    check_access(path)
    if path.suffix == ".zarr" and path.is_dir():
        read_path: Callable[[Path], anndata.AnnData] = anndata.read_zarr
    elif path.is_dir():
        read_path = partial(_read_folder, files=_find_all(path))
    elif path.suffix == ".h5ad":
        read_path = anndata.read_h5ad
    elif path.suffix == ".h5":
        read_path = _read_10x_h5
    else:
        raise InputError(
            "unknown-file",
            "'{path}' is not a kind of file that can be read; give an .h5ad file, a .zarr store, "
            "a 10x .h5 file or a folder with matrix.mtx, barcodes.tsv and features.tsv or "
            "genes.tsv.",
            path=path,
        )
    try:
        return read_path(path)
    except (InputError, PermissionError):
        raise
    except Exception as error:  # h5py, anndata, scipy and pandas each raise their own kinds
        raise unreadable(path, error) from error


def check_access(path: Path) -> None:
    """Raise unless there is such a file or folder and it may be read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file '{path}'.") from None
    except OSError as error:  # a folder on the way that may not be entered, or a name too long
        raise type(error)(f"'{path}' cannot be read: {error.strerror}; give another.") from error
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise PermissionError(
            f"'{path}' cannot be read, because you have no permission; ask its owner, or copy it."
        )


def unreadable(path: Path, error: Exception) -> InputError:
    """Return what to raise when reading a path of a known kind raised `error`."""
    kinds = {".h5ad": "an .h5ad file", ".zarr": "a .zarr store", ".h5": "a 10x .h5 file"}
    kind = kinds.get(path.suffix, "a matrix-market folder")
    return InputError(
        "unreadable-file",
        "'{path}' cannot be read as {kind}: {reason}; it may be damaged or of another kind: copy "
        "or write it again.",
        path=path,
        kind=kind,
        reason=reason(error),
    )


def _read_10x_h5(path: Path) -> anndata.AnnData:
    """Read a 10x .h5 file by scanpy, which does not check what it makes a matrix of."""
    import scanpy as sc

    with h5py.File(path) as file:
        for name in file:
            if "indptr" in file[name]:
                _check_10x(file[name], f"group '{name}' of '{path}'")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Variable names are not unique")
        adata = sc.read_10x_h5(path)
    adata.var_names_make_unique()
    return adata


def _check_10x(group: Any, where: str) -> None:
    """Raise CountsError unless the arrays of a matrix fit each other."""
    n_genes, n_cells = (int(size) for size in group["shape"][...])
    check_arrays(group, n_cells, where)
    for start in range(0, group["indices"].shape[0], _AT_ONCE):
        check_range(group["indices"][start : start + _AT_ONCE], n_genes, where)


def _read_folder(folder: Path, files: tuple[Path, Path, Path]) -> anndata.AnnData:
    """Read the three files of a matrix-market folder, whatever wrote it and gzipped or not."""
    parts: list[Any] = []
    for path, read_file in zip(files, (_matrix, _table, _table), strict=True):
        check_access(path)
        with reading(f"'{path}'"):
            parts.append(read_file(path))
    matrix, cells, genes = parts
    counts = sparse.csr_matrix(matrix.T)
    if counts.shape != (len(cells), len(genes)):
        raise ValueError(
            f"the matrix is of {counts.shape[1]} genes x {counts.shape[0]} cells, but "
            f"{len(genes)} genes and {len(cells)} cells are named"
        )
    names = genes[min(1, genes.shape[1] - 1)]  # the symbol where there is one, else the identifier
    adata = anndata.AnnData(
        counts,
        obs=pd.DataFrame(index=pd.Index(cells[0].to_numpy())),
        var=pd.DataFrame(
            {"gene_ids": genes[0].to_numpy()},
            index=anndata.utils.make_index_unique(pd.Index(names.to_numpy())),
        ),
    )
    if genes.shape[1] > 2:
        is_gene = (genes[2] == "Gene Expression").to_numpy()
        adata = adata[:, is_gene].copy() if is_gene.any() else adata
    return adata


def _find_all(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of a matrix-market folder: the matrix, the cells and the genes."""
    return (
        _find(folder, "matrix.mtx"),
        _find(folder, "barcodes.tsv"),
        _find(folder, "features.tsv", "genes.tsv"),
    )


def _find(folder: Path, *names: str) -> Path:
    """Return the first of the names that is in the folder, plain or gzipped."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"folder '{folder}' has no {' or '.join(names)} (nor one with .gz).")


def _matrix(path: Path) -> Any:
    """Read a matrix in matrix-market form, gzipped or not."""
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "rb") as file:
        while block := file.read(2**20):
            if b"\0" in block:  # SciPy's reader would end the process
                raise ValueError("it holds bytes that are not text")
    return io.mmread(path)


def _table(path: Path) -> pd.DataFrame:
    """Read a table without header, every field as text."""
    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
