"""Cells and results that R holds, as the AnnData that a report is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from bgformer.r.plain import looks_of, model_of, weights_of
from bgformer.store.results import store, umap_name

if TYPE_CHECKING:
    from bgformer.data.cells import Cells

KEY = "bgformer"
"""What the results are called in it."""


def as_anndata(
    cells: Cells,
    fitted: dict[str, Any],
    latent: np.ndarray,
    weights: dict[str, Any],
    columns: dict[str, Any],
    umap: np.ndarray | None,
) -> AnnData:
    """Return cells without counts, with their results under the name `KEY`.

    Parameters
    ----------
    cells
        The cells.
    fitted, latent, weights
        As in `bridge.save`; ``unassigned`` (n,) in `fitted` tells which cells are of no cluster.
    columns
        Columns of the cells' metadata: numbers, or a dictionary with ``codes`` from 0 (-1 if
        missing) and ``levels``.
    umap
        Coordinates of the cells, n x 2, or None.
    """
    rows = np.ascontiguousarray(latent, dtype=np.float32)
    model = model_of(fitted).with_cells(rows, weights_of(weights))
    apart = np.atleast_1d(fitted["unassigned"]).astype(bool)
    if apart.any():
        model = replace(model, partition=model.partition._replace(unassigned=apart))
    adata = AnnData(
        obs=pd.DataFrame(index=pd.Index([str(name) for name in cells.obs_names], dtype=object)),
        var=pd.DataFrame(index=cells.var_names),
    )
    store(adata, model, KEY, predicted=bool(apart.any()), looks=looks_of(fitted))
    for name, given in columns.items():
        adata.obs[name] = _column(given)
    if umap is not None:
        adata.obsm[umap_name(KEY)] = np.asarray(umap, dtype=np.float32)
    return adata


def _column(given: Any) -> np.ndarray | pd.Categorical:
    """Return a column that R sent as numbers, or as codes with levels."""
    if not isinstance(given, dict):
        return np.atleast_1d(given).astype(float)
    codes = np.atleast_1d(given["codes"]).astype(int)
    return pd.Categorical.from_codes(
        codes, [str(level) for level in np.atleast_1d(given["levels"])]
    )
