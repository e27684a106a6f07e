"""Where a panel names its categories, and the room that the names take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

_FIT_LENGTH, _FIT_NUMBER = 4, 30
"""So many names, each up to so long, as numbers of clusters are, fit onto the cells."""
_MOST_LABELS = 102
"""Above this many categories scanpy has no more colours, and a legend cannot be read."""


def legend_style(adata: AnnData, name: str) -> dict[str, Any]:
    """Return where the names of the categories go: onto the cells if short, else beside."""
    if name not in adata.obs or not isinstance(adata.obs[name].dtype, pd.CategoricalDtype):
        return {}
    categories = adata.obs[name].cat.categories.astype(str)
    if categories.str.len().max() <= _FIT_LENGTH and len(categories) <= _FIT_NUMBER:
        return {"legend_loc": "on data", "legend_fontsize": 10, "legend_fontoutline": 2}
    if len(categories) > _MOST_LABELS:
        return {"legend_loc": None}
    return {"legend_loc": "right margin", "legend_fontsize": 9 if len(categories) <= 14 else 7}


def legend_width(adata: AnnData, name: str, style: dict[str, Any]) -> float:
    """Return the inches that the names beside a panel take (scanpy sets them in columns)."""
    if style.get("legend_loc") != "right margin":
        return 0.0
    categories = adata.obs[name].cat.categories.astype(str)
    columns = 1 if len(categories) <= 14 else 2 if len(categories) <= 30 else 3
    longest = categories.str.len().max()
    return float(columns * (0.35 + longest * style["legend_fontsize"] * 0.6 / 72))
