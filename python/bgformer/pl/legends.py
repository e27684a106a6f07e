"""Legends beside a panel that say how many cells each group has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

MOST_NAMES = 30
"""Maximum number of names that are written onto the cells."""
_MOST_GROUPS = 102
"""Maximum number of groups with a legend; more do not fit beside a panel."""
_ROWS, _FONT = 18, 8
_MISSING = "#d3d3d3"
"""scanpy's colour of cells without a group."""


def counted(groups: pd.Series) -> list[str]:
    """Return what the legend says of each group, such as "B cells (345)", of missing ones last."""
    sizes = groups.value_counts(sort=False).reindex(groups.cat.categories)
    said = [f"{name} ({n:,})" for name, n in sizes.items()]
    missing = int(groups.isna().sum())
    return [*said, f"NA ({missing:,})"] if missing else said


def legend_width(said: Sequence[str]) -> float:
    """Return the width in inches of a legend beside a panel."""
    if not 0 < len(said) <= _MOST_GROUPS:
        return 0.0
    columns = -(-len(said) // _ROWS)
    return columns * (0.35 + max(map(len, said)) * _FONT * 0.6 / 72)


def write_legend(
    axis: Axes, said: Sequence[str], colours: Sequence[str], title: str | None = None
) -> None:
    """Write the legend of some groups beside a panel, which makes room for it.

    Parameters
    ----------
    axis
        The panel.
    said
        What is said of each group.
    colours
        A colour for each; those after the last are grey.
    title
        Title of the legend.
    """
    if not 0 < len(said) <= _MOST_GROUPS:
        return
    shown = [*colours][: len(said)]
    shown += [_MISSING] * (len(said) - len(shown))
    points = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=colour, label=text)
        for text, colour in zip(said, shown, strict=True)
    ]
    legend = axis.legend(
        handles=points,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        ncols=-(-len(said) // _ROWS),
        frameon=False,
        fontsize=_FONT,
        title=title,
        title_fontsize=_FONT + 1,
        alignment="left",
        handletextpad=0.2,
        columnspacing=0.8,
    )
    make_room(axis, legend)


def make_room(axis: Axes, legend: Legend) -> None:
    """Make a panel narrower by the legend beside it, unless a layout engine does so."""
    figure = axis.figure.figure
    if figure.get_layout_engine() is None:
        width = legend.get_window_extent().width / figure.bbox.width
        box = axis.get_position()
        axis.set_position((box.x0, box.y0, max(box.width - width, box.width / 3), box.height))
