"""The anchors, and the links that clusters are found from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from scipy import sparse

from bgformer.pl.figure import check_output, finish, panels
from bgformer.pl.labels import name_groups
from bgformer.pl.legends import write_legend
from bgformer.store.looks import looks_of
from bgformer.store.results import umap_name, weights_name
from bgformer.tl import results, umap

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from matplotlib.axes import Axes

_FAINTEST = 0.15
"""Links with a smaller cosine would only cover the rest."""
_LARGEST, _TOGETHER = 150.0, 60_000.0
"""Largest area of an anchor, and of all if each had it, in square points."""
_SMALLEST = 0.05
"""Smallest area that is drawn, as a share of the largest: all anchors are seen."""


def anchors(
    adata: AnnData,
    *,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | None:
    """Draw the anchors in the UMAP of the latent space, with the cells behind them in grey.

    An anchor is drawn at the cell nearest to the mean of its cells. Its area is the share of all
    cells' weight that is on it, at least a twentieth of the largest, and its colour that of its
    cluster. A line is darker the more cells two anchors share (the cosine of their weights); the
    clusters are found from these links.
    The UMAP is computed by :func:`bgformer.tl.umap` unless it is stored.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`.
    key_added
        Name under which the results are stored.
    ax
        Axes to draw into.
    show
        Show the figure. None shows it unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if the figure is shown, otherwise the Axes.

    Raises
    ------
    ValueError
        If `adata` has no results named `key_added`.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    check_output(ax, show, save)
    stored = results(adata, key_added)
    if umap_name(key_added) not in adata.obsm:
        umap(adata, key_added=key_added)
    weights = sparse.csc_matrix(adata.obsm[weights_name(key_added)])
    cells = np.asarray(adata.obsm[umap_name(key_added)])
    mass = np.asarray(weights.sum(axis=0)).ravel()
    used = np.flatnonzero(mass)  # a subset of the cells may leave anchors without any
    weights, mass = weights[:, used], mass[used]
    looks = looks_of(adata, key_added, stored, adata.obsm[weights_name(key_added)])
    clusters = np.asarray(stored["anchor_clusters"])[used]
    at = _places(weights, cells)
    there = np.unique(clusters)
    names = [looks.names[cluster] for cluster in there]
    axis = panels(1)[0] if ax is None else ax
    axis.scatter(cells[:, 0], cells[:, 1], s=4, color="0.85", linewidths=0)
    axis.add_collection(_links(weights, at))
    colours = np.array(looks.colours, dtype=object)[clusters]
    area = min(_LARGEST, _TOGETHER / len(used)) * np.maximum(mass / mass.max(), _SMALLEST)
    edges: dict[str, Any] = {"edgecolors": "0.2", "linewidths": 0.2, "zorder": 3}
    axis.scatter(at[:, 0], at[:, 1], s=area, c=list(colours), **edges)
    categories = list(dict.fromkeys(names))
    by_name = dict(zip(names, np.array(looks.colours, dtype=object)[there], strict=True))
    write_legend(axis, categories, [by_name[name] for name in categories])
    called = np.array(looks.names, dtype=object)[clusters]
    name_groups(axis, pd.Series(pd.Categorical(called, categories=categories)), at)
    axis.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
    axis.spines[["top", "right"]].set_visible(False)
    return None if finish(axis, ax=ax, show=show, save=save) else axis


def _places(weights: sparse.csc_matrix, cells: np.ndarray) -> np.ndarray:
    """Return where each anchor is drawn, m x 2: at the cell nearest to the mean of its cells."""
    mean = np.asarray(weights.T @ cells) / np.asarray(weights.sum(axis=0)).T
    anchor = np.repeat(np.arange(weights.shape[1]), np.diff(weights.indptr))
    away = np.square(cells[weights.indices] - mean[anchor]).sum(axis=1)
    order = np.lexsort((away, anchor))
    first = order[np.unique(anchor[order], return_index=True)[1]]
    return np.asarray(cells[weights.indices[first]])


def _links(weights: sparse.csc_matrix, at: np.ndarray) -> LineCollection:
    """Return lines between the anchors that share cells."""
    length = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=0)).ravel())
    shared = sparse.coo_matrix(sparse.triu(weights.T @ weights, k=1))
    strength = shared.data / (length[shared.row] * length[shared.col])
    strong = strength >= _FAINTEST
    ends = np.stack([at[shared.row[strong]], at[shared.col[strong]]], axis=1)
    alpha = np.clip(strength[strong], 0, 0.5)
    shades = np.column_stack([np.full((len(alpha), 3), 0.25), alpha])
    return LineCollection(list(ends), colors=shades, linewidths=0.5, zorder=2)
