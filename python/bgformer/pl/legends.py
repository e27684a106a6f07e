"""Names of groups of cells: on the cells, or in a legend beside the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_FIT_LENGTH, _FIT_NUMBER = 4, 30
"""Maximum length and number of names that are written onto the cells."""
_FEW_CELLS = 60
"""A name on fewer cells than this would cover them all, so it is beside them."""
_MOST_LABELS = 102
"""Maximum number of categories with a legend; beyond it, scanpy runs out of colours."""


def legend_style(adata: AnnData, name: str) -> dict[str, Any]:
    """Return scanpy's legend options: names on the cells if short, otherwise beside the panel."""
    if name not in adata.obs or not isinstance(adata.obs[name].dtype, pd.CategoricalDtype):
        return {}
    categories = adata.obs[name].cat.categories.astype(str)
    if categories.str.len().max() <= _FIT_LENGTH and len(categories) <= _FIT_NUMBER:
        return {"legend_loc": "on data", "legend_fontsize": 10, "legend_fontoutline": 2}
    if len(categories) > _MOST_LABELS:
        return {"legend_loc": None}
    return {"legend_loc": "right margin", "legend_fontsize": 9 if len(categories) <= 14 else 7}


def legend_width(adata: AnnData, name: str, style: dict[str, Any]) -> float:
    """Return the width in inches of a legend beside a panel (scanpy sets it in columns)."""
    if style.get("legend_loc") != "right margin":
        return 0.0
    categories = adata.obs[name].cat.categories.astype(str)
    columns = 1 if len(categories) <= 14 else 2 if len(categories) <= 30 else 3
    longest = categories.str.len().max()
    return float(columns * (0.35 + longest * style["legend_fontsize"] * 0.6 / 72))


def write_names(axis: Axes, groups: pd.Series, at: np.ndarray) -> None:
    """Write the name of each group of cells on its cells, or beside them if they are few.

    Parameters
    ----------
    axis
        Where the cells are drawn.
    groups
        Group of each cell, categorical.
    at
        Coordinates of the cells, n x 2.
    """
    for name in groups.cat.categories:
        own = at[(groups == name).to_numpy()]
        if not len(own):
            continue
        middle = np.median(own, axis=0)
        nearest = own[np.square(own - middle).sum(axis=1).argmin()]
        beside = len(own) < _FEW_CELLS
        axis.annotate(
            str(name),
            nearest,
            xytext=(7, 7) if beside else (0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
