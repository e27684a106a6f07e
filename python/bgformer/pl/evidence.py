"""The gap between each cluster and its nearest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy import sparse

from bgformer.graph.anchor_graph import ISLAND, ONE_TYPE
from bgformer.graph.votes import vote_in_blocks
from bgformer.messages import InputError
from bgformer.pl.figure import check_output, finish, panels
from bgformer.pl.labels import write_names
from bgformer.store.looks import looks_of, unassigned_in
from bgformer.store.origin import are_subclusters, origin
from bgformer.store.results import weights_name
from bgformer.tl import results

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

_LARGEST, _SMALLEST = 300.0, 0.05
"""Area of the largest circle in square points, and of the smallest as a share of it."""
_RIGHT = 0.2
"""The x axis ends here at least, so that the dotted line can be explained."""
_RIM = 16


def evidence(
    adata: AnnData,
    *,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | None:
    """Draw what separates each cluster from its nearest one.

    Each cluster is a circle. The x axis is the share of links between the cluster and its nearest,
    and the y axis is the number of marker genes between them. The area of the circle is the number
    of cells, drawn as a twentieth of the largest if it is less. A darker circle means a deeper
    density gap in held-out counts. "8 > 6" is cluster 8, with 6 as its nearest. Two clusters that
    are nearest to each other share a position and a name: "1 <> 3".

    Of a subset, only clusters with cells in it are drawn, and a circle shows their number there.
    Positions and colours are those of the last clustering.

    Left of the dashed line, hardly any cells lie between the two clusters. Right of the dotted
    line, they are split only because a resolution or a number of clusters was given.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`; not changed.
    key_added
        Name under which the results are stored, or the column of subclusters that
        :func:`bgformer.tl.subcluster` made from them, whose parts are then drawn under the names
        that they got there.
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
        If `adata` has no results named `key_added`, or no cell of any of the clusters, or these
        are subclusters and no cluster was divided.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    check_output(ax, show, save)
    subclusters = isinstance(key_added, str) and are_subclusters(adata.uns.get(key_added))
    table = _of_subclusters(adata, key_added) if subclusters else _of_clusters(adata, key_added)
    if len(table) == 0:
        raise InputError(
            "no-cells-of-clusters",
            "none of the {n_cells} cells is in a cluster that '{given}' has evidence for; give "
            "cells of such clusters.",
            n_cells=adata.n_obs,
            given=key_added,
        )
    axis = panels(1, width=6.4)[0] if ax is None else ax
    top = axis.get_xaxis_transform()
    for share, line, said, side in (
        (ISLAND, "--", "apart ", "right"),
        (ONE_TYPE, ":", " merged by default", "left"),
    ):
        axis.axvline(share, color="0.5", linestyle=line, linewidth=1, zorder=0)
        axis.text(share, 1.02, said, transform=top, ha=side, fontsize=8, color="0.3")
    _draw(axis, table)
    axis.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axis.set_ylim(0, max(1.0, table["n_markers"].max()) * 1.05)
    axis.set_xlim(0, max(_RIGHT, table["links"].max() * 1.03))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="share of links with the nearest cluster", ylabel="marker genes against it")
    axis.spines[["top", "right"]].set_visible(False)
    return None if finish(axis, ax=ax, show=show, save=save) else axis


def _of_clusters(adata: AnnData, key: str) -> pd.DataFrame:
    """Return the evidence for the clusters that have cells, with their names."""
    stored = results(adata, key)
    table, weights = stored["evidence"], sparse.csr_matrix(adata.obsm[weights_name(key)])
    names = looks_of(adata, key, stored, weights).names
    if adata.n_obs != stored["n_cells"]:  # a subset, whose cells decide what is drawn
        labels = vote_in_blocks(weights, np.asarray(stored["anchor_clusters"]))[0]
        apart = unassigned_in(adata.obs, key, stored)
        labels = labels if apart is None else labels[~apart]
        table = table.assign(n_cells=np.bincount(labels, minlength=len(table)))
    name = {str(number): name for number, name in enumerate(names)}
    called = {c + "_name": table[c].astype(str).map(name) for c in ("cluster", "nearest")}
    return table.assign(**called)[table["n_cells"] > 0]


def _of_subclusters(adata: AnnData, column: str) -> pd.DataFrame:
    """Return the evidence for the parts that have cells."""
    table = adata.uns[column]["evidence"]
    if len(table) == 0:
        raise InputError(
            "no-evidence",
            "'{column}' has no evidence, because no cluster was divided; call "
            "bgformer.tl.subcluster with a resolution first.",
            column=column,
        )
    table = table.assign(**{c: table[c].astype(str) for c in ("cluster", "nearest")})
    there = adata.obs[column].astype(str).value_counts()
    clusters = adata.obs[origin(adata, column)].astype(str)
    known = {*table["cluster"], *adata.uns[column]["splits"]["cluster"].astype(str), *clusters}
    if known.issuperset(there.index):  # parts that were renamed cannot be counted
        n_cells = there.reindex(table["cluster"], fill_value=0)
        table = table.assign(n_cells=n_cells.to_numpy())
    named = table.assign(cluster_name=table["cluster"], nearest_name=table["nearest"])
    return named[named["n_cells"] > 0]


def _draw(axis: Axes, table: pd.DataFrame) -> None:
    """Draw the circles of the clusters, write their names, and explain areas and colours."""
    table = table.sort_values("n_cells", ascending=False, kind="stable")  # small ones in front
    most = max(int(table["n_cells"].max()), 1) if len(table) else 1
    area = _LARGEST * np.maximum(table["n_cells"].to_numpy() / most, _SMALLEST)
    at = table[["links", "n_markers"]].fillna(0).to_numpy(dtype=float)
    points = axis.scatter(
        at[:, 0], at[:, 1], s=area, c=table["gap"].fillna(0), cmap="viridis_r", vmin=0, vmax=1
    )
    points.set(alpha=0.8, edgecolor="0.2", linewidth=0.5, clip_on=False, zorder=2)
    axis.figure.colorbar(points, ax=axis, label="depth of the gap", shrink=0.5, anchor=(0.0, 0.0))
    sizes = [n for n in MaxNLocator(3, integer=True).tick_values(0, most) if 0 < n <= most]
    shown = [
        Line2D([], [], marker="o", linestyle="", color="0.5", label=f"{int(n):,}") for n in sizes
    ]
    for n, circle in zip(sizes, shown, strict=True):
        circle.set_markersize(float(np.sqrt(_LARGEST * n / most)))
    axis.legend(
        handles=shown, title="cells", loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False,
        fontsize=8, title_fontsize=9, labelspacing=0.9,
    )  # fmt: skip
    names = _names(table)
    angle = np.arange(_RIM) * 2 * np.pi / _RIM
    rim = np.column_stack([np.cos(angle), np.sin(angle)])
    rim = np.vstack([rim, rim / 2, [[0, 0]]]) / 2
    spread = np.sqrt(area)[:, None, None] * rim
    write_names(
        axis,
        list(names.values()),
        at[list(names)],
        np.repeat(at, len(rim), axis=0),
        np.full(len(at) * len(rim), 1 / len(rim)),
        spread.reshape(-1, 2),
    )


def _names(table: pd.DataFrame) -> dict[int, str]:
    """Return what is written at each row; of two clusters at one position, at the first."""
    rows = list(table[["cluster", "nearest", "cluster_name", "nearest_name"]].astype(str).values)
    nearest = {cluster: other for cluster, other, _, _ in rows}
    names = {}
    for row, (cluster, other, name, other_name) in enumerate(rows):
        if cluster == other:  # a single cluster
            names[row] = name
        elif nearest.get(other) != cluster:
            names[row] = f"{name} > {other_name}"
        elif list(nearest).index(other) > row:
            names[row] = f"{name} <> {other_name}"
    return names
