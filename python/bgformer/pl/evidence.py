"""The gap between each cluster and its nearest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from bgformer.graph.anchor_graph import ISLAND, ONE_TYPE
from bgformer.graph.votes import vote_in_blocks
from bgformer.pl.figure import check_output, finish, panels
from bgformer.store.looks import looks_of
from bgformer.store.results import weights_name
from bgformer.tl import results

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from matplotlib.axes import Axes


def evidence(
    adata: AnnData,
    *,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | None:
    """Draw what separates each cluster from its nearest one.

    Each cluster is a circle whose area grows with its number of cells. The x axis is the share of
    links between the cluster and its nearest, and the y axis is the number of marker genes between
    them. A darker circle means a deeper density gap in held-out counts. The nearest cluster is in
    brackets; it is omitted if two clusters are nearest to each other, which then share a position.

    Of a subset, only clusters with cells in it are drawn, and a circle shows their number there.
    Positions and colours are those of the last clustering.

    Left of the dashed line, hardly any cells lie between the two clusters. Right of the dotted
    line, they are split only because a resolution or a number of clusters was given.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`; not changed.
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
    table = stored["evidence"]
    names = looks_of(adata, key_added, stored, adata.obsm[weights_name(key_added)]).names
    if adata.n_obs != stored["n_cells"]:  # a subset, whose cells decide what is drawn
        weights = sparse.csr_matrix(adata.obsm[weights_name(key_added)])
        labels = vote_in_blocks(weights, np.asarray(stored["anchor_clusters"]))[0]
        table = table.assign(n_cells=np.bincount(labels, minlength=len(table)))
    seen = table[table["n_cells"] > 0]
    axis = panels(1)[0] if ax is None else ax
    axis.axvline(ISLAND, color="0.6", linestyle="--", linewidth=1)
    axis.axvline(ONE_TYPE, color="0.6", linestyle=":", linewidth=1)
    area = 30 + 600 * seen["n_cells"] / max(seen["n_cells"].sum(), 1)
    points = axis.scatter(
        seen["links"],
        seen["n_markers"],
        s=area,
        c=seen["gap"].fillna(0),
        cmap="viridis_r",
        vmin=0,
        vmax=1,
    )
    points.set(alpha=0.7, edgecolor="none")
    axis.figure.colorbar(points, ax=axis, label="depth of the gap", shrink=0.6)
    nearest = dict(zip(table["cluster"], table["nearest"], strict=True))
    for one, x, y in zip(seen["cluster"], seen["links"], seen["n_markers"], strict=True):
        # both clusters are then at the same position
        mutual = nearest[one] in set(seen["cluster"]) and nearest[nearest[one]] == one
        side = "right" if mutual and int(one) < int(nearest[one]) else "left"
        name, other = names[int(one)], names[int(nearest[one])]
        text = f" {name} " if mutual else f" {name} ({other})"
        axis.annotate(text, (x, y), fontsize=8, ha=side, va="center")
    axis.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axis.set_ylim(0, None)
    axis.set_xlim(0, None)
    axis.set(
        xlabel="share of links to the nearest cluster",
        ylabel="marker genes against it",
    )
    axis.spines[["top", "right"]].set_visible(False)
    return None if finish(axis, ax=ax, show=show, save=save) else axis
