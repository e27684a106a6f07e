"""Cells from files: .h5ad, .zarr, 10x .h5, and folders in matrix-market form."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import pandas as pd
from scipy import io, sparse

from bgformer.messages import InputError


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
    InputError
        If it is of another kind, or damaged.
    """
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no file '{path}'.")
    if path.suffix == ".zarr" and path.is_dir():
        read_path = anndata.read_zarr
    elif path.is_dir():
        read_path = _read_folder
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
    except FileNotFoundError:
        raise
    except Exception as error:  # h5py, anndata, scipy and pandas each raise their own kinds
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """Return what to raise when reading a path of a known kind raised `error`."""
    kinds = {".h5ad": "an .h5ad file", ".zarr": "a .zarr store", ".h5": "a 10x .h5 file"}
    kind = kinds.get(path.suffix, "a matrix-market folder")
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        "unreadable-file",
        "'{path}' cannot be read as {kind}: {reason}.",
        path=path,
        kind=kind,
        reason=reason[0].rstrip("."),
    )


def _read_10x_h5(path: Path) -> anndata.AnnData:
    """Read a 10x .h5 file by scanpy."""
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Variable names are not unique")
        adata = sc.read_10x_h5(path)
    adata.var_names_make_unique()
    return adata


def _read_folder(folder: Path) -> anndata.AnnData:
    """Read the three files of a matrix-market folder, whatever wrote it and gzipped or not."""
    counts = sparse.csr_matrix(io.mmread(_find(folder, "matrix.mtx")).T)
    cells = _table(_find(folder, "barcodes.tsv"))
    genes = _table(_find(folder, "features.tsv", "genes.tsv"))
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


def _find(folder: Path, *names: str) -> Path:
    """Return the first of the names that is in the folder, plain or gzipped."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"folder '{folder}' has no {' or '.join(names)} (nor one with .gz).")


def _table(path: Path) -> pd.DataFrame:
    """Read a table without header, every field as text."""
    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
