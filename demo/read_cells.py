"""Read cells from the file types that the demo accepts, and pass them to R."""

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

from pbmc700 import load_pbmc700


def read_cells(path: str | None = None, labels: str | None = None) -> dict:
    """Read counts, names and known labels.

    Parameters
    ----------
    path
        A ``.h5ad`` or a 10x ``.h5`` file. If None, the 700 blood cells that scanpy includes.
    labels
        Column of ``obs`` with the known labels.

    Returns
    -------
    Dict with the slots of a genes × cells dgCMatrix in R (``x``, ``i``, ``p``), ``genes``,
    ``cells`` and ``labels`` (list of str, or None).

    Raises
    ------
    ValueError
        If the file cannot be read, contains no counts or has no column `labels`.
    """
    if path is None:
        adata, labels = load_pbmc700(), "cell_type"
    else:
        adata = _read_file(Path(path))
    if labels is not None and labels not in adata.obs:
        raise ValueError(
            f"{path} has no column {labels!r} of known labels; its columns are: "
            f"{', '.join(adata.obs.columns) or 'none'}."
        )
    counts, genes = _find_counts(adata, path)
    counts = sp.csr_matrix(counts, dtype=np.float64)  # rows = columns of the dgCMatrix
    counts.sort_indices()
    known = None
    if labels is not None:
        known = adata.obs[labels].astype(object)
        known = known.where(known.notna(), "unknown").astype(str).to_list()
    return {
        "x": counts.data,
        "i": counts.indices,
        "p": counts.indptr,
        "genes": list(ad.utils.make_index_unique(pd.Index(genes.astype(str)))),
        "cells": list(ad.utils.make_index_unique(adata.obs_names.astype(str))),
        "labels": known,
    }


def _read_file(path: Path) -> ad.AnnData:
    # read_cells makes duplicate names unique
    warnings.filterwarnings("ignore", "(Variable|Observation) names are not unique", UserWarning)
    try:
        return ad.read_h5ad(path) if path.suffix == ".h5ad" else sc.read_10x_h5(path)
    except Exception as error:  # h5py, anndata and scanpy raise different types
        kind = "an .h5ad file" if path.suffix == ".h5ad" else "a 10x .h5 file"
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as {kind}: {reason}") from error


def _find_counts(adata: ad.AnnData, path: str | None):
    """Return the first matrix of whole numbers in the usual places for counts, and its genes."""
    places = [(adata.layers.get("counts"), adata.var_names), (adata.X, adata.var_names)]
    if adata.raw is not None:
        places.append((adata.raw.X, adata.raw.var_names))
    for matrix, genes in places:
        if matrix is None:
            continue
        values = matrix.data if sp.issparse(matrix) else np.asarray(matrix)
        if np.array_equal(values, np.rint(values)):
            return matrix, genes
    raise ValueError(
        f"{path} has no counts (whole numbers) in layers['counts'], X or raw.X; "
        "give a file with raw counts."
    )
