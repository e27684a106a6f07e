"""The figure of a plot: create its panels, save it and show it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_COLUMNS = 3
"""Maximum number of panels in a row."""


def check_folder(save: str | Path | None) -> None:
    """Raise FileNotFoundError if the folder of `save` does not exist, before any computation."""
    if save is not None and not (folder := Path(save).resolve().parent).is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}' to write into; make it first.")


def panels(n: int, height: float = 4.2, beside: Sequence[float] = ()) -> list[Axes]:
    """Return n axes in rows of up to three; `beside` holds the width of each legend in inches."""
    columns = min(n, _COLUMNS)
    rows = math.ceil(n / columns)
    legends = sum(max(beside[column::columns], default=0) for column in range(columns))
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * height * 1.2 + legends, rows * height),
        squeeze=False,
        layout="constrained",
    )
    for unused in axes.flat[n:]:
        unused.remove()
    return list(axes.flat[:n])


def finish(axis: Axes, *, ax: Axes | None, show: bool | None, save: str | Path | None) -> bool:
    """Save and show the figure of an axis as requested, and return whether it was shown."""
    if save is not None:
        # axis.figure can be a SubFigure, which cannot be saved; its own figure can.
        axis.figure.figure.savefig(save, dpi=150, bbox_inches="tight")
    if show is None:
        has_window = mpl.get_backend().lower() not in ("agg", "pdf", "ps", "svg", "cairo")
        show = has_window and ax is None and save is None
    if show:
        plt.show()
    return show
