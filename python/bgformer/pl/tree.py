"""How clusters split as the resolution grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import sparse

from bgformer.graph.tree import RESOLUTIONS
from bgformer.graph.tree import tree as tree_of
from bgformer.graph.tree_layout import diameters, layout
from bgformer.pl.figure import check_output, finish, panels
from bgformer.pl.legends import make_room
from bgformer.store.looks import looks_of
from bgformer.store.palette import colours_at_levels
from bgformer.store.results import held_out_of, weights_name
from bgformer.tl import results
from bgformer.tl.cluster_tree import levels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.text import Text

    from bgformer.graph.tree_layout import Drawing

_LARGEST = 20.0
"""Diameter of the largest circle, in points, if there is room."""
_OF_ROW = 0.7
"""Diameter of the largest circle, as a share of the distance between two rows."""
_WIDEST = 5.0
"""Width of an edge with as many cells as the largest cluster, in points."""
_PALEST, _DARKEST = 0.85, 0.35
"""Grey of an edge with none and with all of a cluster's cells."""
_FONTS = (5.0, 7.0)
"""Smallest and largest font of the numbers in the circles."""
_WIDTH_OF_DIGIT = 0.62
"""Width of a digit, as a share of the size of the font."""


def tree(
    adata: AnnData,
    resolutions: Sequence[float] = RESOLUTIONS,
    *,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | None:
    """Draw how clusters split as the resolution grows, and which splits have evidence.

    Each row is a resolution, and each circle is a cluster with its number at this resolution: "0"
    is the largest. A line leads to a cluster from each cluster at the resolution before that at
    least a tenth of its cells come from. Wider lines have more cells, and darker ones a larger
    share of the cluster. A cluster is below the one that most of its cells come from. It has the
    same colour if it is the largest part of that one, and the stored clusters have their own
    colours.

    A hollow circle with dashed lines is a cluster without evidence for its split from the nearest
    one: they share as many links as two halves of a single type, and there is no gap between them.
    :func:`bgformer.tl.tree` returns the evidence for each cluster.

    Resolutions that give the same clusters share a row. The number of clusters is on the right.
    The row with the resolution of the stored clusters is grey. A number is left out if its circle
    is too small for it; a larger figure shows more of them.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`; not changed.
    resolutions
        Resolutions to cluster at; by default eleven, from 0.1 to 5.
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
        If `adata` has no results named `key_added`, if all of its cells are unassigned, or if
        `resolutions` is empty or one of them is not above 0.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    check_output(ax, show, save)
    stored = results(adata, key_added)
    found = levels_of(adata, key_added, stored, resolutions)
    made = tree_of(found, held_out_of(adata, key_added, stored), np.asarray(stored["genes"]))
    weights = sparse.csr_matrix(adata.obsm[weights_name(key_added)])
    colours = colours_at_levels(
        looks_of(adata, key_added, stored, weights).colours,
        np.asarray(stored["anchor_clusters"]),
        found,
        np.asarray(weights.sum(axis=0)).ravel(),
    )
    drawn = layout(made._replace(nodes=made.nodes.assign(colour=colours)))
    if ax is None:
        width = 2.4 + max(2.5, drawn.width * _LARGEST * 1.05 / 72)
        axis = panels(1, height=0.8 + 0.4 * max(len(drawn.rows), 5), width=width)[0]
    else:
        axis = ax
    lines, circles = _draw_edges(axis, drawn), _draw_nodes(axis, drawn.nodes)
    _write_rows(axis, drawn)
    handles = _explain(axis, drawn, stored)
    axis.add_artist(_Fitter(drawn, lines, circles, handles))
    return None if finish(axis, ax=ax, show=show, save=save) else axis


def _draw_edges(axis: Axes, drawn: Drawing) -> LineCollection:
    """Draw the edges, those with most of a cluster's cells in front."""
    edges = drawn.edges.sort_values("share", kind="stable")
    start, end = edges[["x_from", "row"]].to_numpy(float), edges[["x", "row"]].to_numpy(float)
    start[:, 1] -= 1
    supported = drawn.nodes.set_index(["row", "cluster"])["supported"]
    own = [supported[row, to] for row, to in zip(edges["row"], edges["to"], strict=True)]
    most = int(drawn.nodes["n_cells"].max())
    lines = LineCollection(
        np.stack([start, end], axis=1),
        colors=[_grey(share) for share in edges["share"]],
        linewidths=_WIDEST * np.sqrt(edges["n_cells"].to_numpy() / most),
        linestyles=["-" if supported_ else (0, (2, 1)) for supported_ in own],
        zorder=1,
    )
    axis.add_collection(lines)
    return lines


def _grey(share: float) -> str:
    """Return the colour of an edge with this share of a cluster's cells."""
    return f"{_PALEST + (_DARKEST - _PALEST) * share:.3f}"


def _draw_nodes(axis: Axes, nodes: pd.DataFrame) -> tuple[PathCollection, list[Text]]:
    """Draw the circles, and write the numbers of the clusters into them."""
    supported = nodes["supported"].to_numpy()
    points = axis.scatter(
        nodes["x"],
        nodes["row"],
        c=np.where(supported, nodes["colour"], "white").tolist(),
        edgecolors=np.where(supported, "0.2", nodes["colour"]).tolist(),
        zorder=2,
        clip_on=False,
    )
    dark = supported & np.array([_is_dark(colour) for colour in nodes["colour"]])
    texts = [
        axis.text(x, row, name, ha="center", va="center_baseline", zorder=3, color=colour)
        for x, row, name, colour in zip(
            nodes["x"], nodes["row"], nodes["cluster"], np.where(dark, "white", "black"),
            strict=True,
        )
    ]  # fmt: skip
    return points, texts


def _is_dark(colour: str) -> bool:
    """Tell whether white is easier to read than black on a colour."""
    channels = np.array(mpl.colors.to_rgb(colour))
    return bool(channels @ [0.299, 0.587, 0.114] < 0.55)


def _write_rows(axis: Axes, drawn: Drawing) -> None:
    """Write the resolution of each row on the left, and its number of clusters on the right."""
    n = len(drawn.rows)
    axis.set(xlim=(0, drawn.width), ylim=(n - 0.4, -0.6), xticks=[], ylabel="resolution")
    axis.set_yticks(range(n), drawn.rows["label"])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    counts = axis.secondary_yaxis("right")
    counts.set_yticks(range(n), [str(number) for number in drawn.rows["n_clusters"]])
    counts.tick_params(length=0)
    counts.spines[:].set_visible(False)
    axis.annotate(
        "clusters", (1, 1), (10, 2), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=8,
    )  # fmt: skip


def _explain(axis: Axes, drawn: Drawing, stored: Mapping[str, Any]) -> dict[int, Line2D]:
    """Write the legend beside the axes; return the circles in it by their number of cells."""
    most = int(drawn.nodes["n_cells"].max())
    numbers = [int(n) for n in MaxNLocator(3, integer=True).tick_values(0, most) if 0 < n <= most]
    said = [f"{n:,} cells" for n in numbers]
    handles: list[Any] = [Line2D([], [], color="0.5", marker="o", linestyle="") for _ in numbers]
    for share, of_share in ((1.0, "100 % of a\ncluster's cells"), (0.2, "20 %")):
        handles.append(Line2D([], [], color=_grey(share), linewidth=2.5))
        said.append(of_share)
    if not drawn.nodes["supported"].all():
        hollow = Line2D([], [], color="0.3", marker="o", linestyle="--")
        hollow.set(markerfacecolor="white", markeredgewidth=1.6, markersize=9)
        handles.append(hollow)
        said.append("split without\nevidence")
    rows, resolution = drawn.rows, float(stored["resolution"])
    for row in np.flatnonzero((rows["lowest"] <= resolution) & (rows["highest"] >= resolution)):
        axis.axhspan(row - 0.5, row + 0.5, color="0.93", linewidth=0, zorder=0)
        handles.append(Patch(color="0.93"))
        same = rows["n_clusters"].iloc[row] == stored["n_clusters"]
        of_stored = f"stored resolution\n({stored['n_clusters']} clusters)"
        said.append("stored clusters" if same else of_stored)
    legend = axis.legend(
        handles, said, loc="center left", bbox_to_anchor=(1.0, 0.5), borderaxespad=4,
        frameon=False, fontsize=8, labelspacing=1.3, handlelength=3, alignment="left",
    )  # fmt: skip
    make_room(axis, legend)
    shown = [circle for circle in legend.legend_handles if isinstance(circle, Line2D)]
    return dict(zip(numbers, shown, strict=False))


class _Fitter(Artist):
    """Gives circles, numbers and lines their sizes whenever a figure is drawn.

    Only then it is known how much room there is.
    """

    def __init__(
        self,
        drawn: Drawing,
        lines: LineCollection,
        circles: tuple[PathCollection, list[Text]],
        handles: dict[int, Line2D],
    ) -> None:
        super().__init__()
        self._drawn, self._lines, self._handles = drawn, lines, handles
        self._points, self._texts = circles
        self._widths = np.array(lines.get_linewidth())
        self.set_zorder(-1)  # before all that it changes
        self.set_in_layout(False)

    def draw(self, renderer: Any) -> None:
        """Set the sizes; this draws nothing."""
        axis, drawn = self.axes, self._drawn
        assert axis is not None
        width, height = np.array(axis.bbox.size) * 72 / axis.figure.dpi
        unit = min(_LARGEST, width / drawn.width, _OF_ROW * height / len(drawn.rows))
        diameter = unit * drawn.nodes["diameter"].to_numpy()
        self._points.set_sizes(diameter**2)
        rims = np.where(drawn.nodes["supported"], 0.4, 0.08 * unit)
        self._points.set_linewidth(rims.tolist())
        self._lines.set_linewidth(np.maximum(self._widths * unit / _LARGEST, 0.6))
        font = float(np.clip(0.75 * diameter.min(), *_FONTS))
        for text, room in zip(self._texts, diameter, strict=True):
            text.set_fontsize(font)
            text.set_visible(bool(len(text.get_text()) * _WIDTH_OF_DIGIT * font <= room))
        most = int(drawn.nodes["n_cells"].max())
        for n, handle in self._handles.items():
            handle.set_markersize(unit * float(diameters(np.array(n), most)))
