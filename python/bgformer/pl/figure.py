"""The figure of a plot: create its panels, save it and show it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.backend_bases import FigureCanvasBase

from bgformer.arguments import flag, is_several, wrong
from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
"""Maximum number of panels in a row."""
_MARGIN = 0.05
"""Margin of a page, in inches."""


def check_output(ax: Axes | None, show: bool | None, save: str | Path | None) -> None:
    """Raise before any computation if the figure could not be drawn, shown or saved."""
    if ax is not None and not isinstance(ax, mpl.axes.Axes):
        raise wrong("ax", ax, "Axes of matplotlib, or None")
    if show is not None:
        flag("show", show)
    if save is None:
        return
    if not _is_name(save):
        raise wrong("save", save, "the name of a file, or None")
    file = Path(save).resolve()
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{file.parent}' to write into; make it first."
        )
    if file.is_dir():
        raise IsADirectoryError(f"'{save}' is a folder; give the name of a file in it.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"'{save}' may not be written; save the figure elsewhere.")
    formats = FigureCanvasBase.get_supported_filetypes()
    if file.suffix and file.suffix[1:].lower() not in formats:
        raise InputError(
            "unknown-format",
            "{name[save]} '{save}' has a format that matplotlib cannot write; use one of: "
            "{formats}.",
            save=save,
            formats=", ".join(formats),
        )


def _is_name(save: object) -> bool:
    """Tell whether this can be the name of a file."""
    try:
        return isinstance(save, str | os.PathLike) and "\0" not in os.fsdecode(os.fsencode(save))
    except (TypeError, UnicodeEncodeError):
        return False


def names_in(argument: str, value: Any) -> list[str]:
    """Return a name or several as a list, or raise InputError."""
    names = list(value) if is_several(value) else [value]
    if not all(isinstance(name, str) for name in names):
        raise wrong(argument, value, "a name or a list of names")
    return names


def panels(
    n: int, height: float = 4.2, width: float | None = None, beside: Sequence[float] = ()
) -> list[Axes]:
    """Return n axes in rows of up to three; `beside` holds the width of each legend in inches."""
    width = height * 1.2 if width is None else width
    columns = min(n, _COLUMNS)
    rows = math.ceil(n / columns)
    legends = sum(max(beside[column::columns], default=0) for column in range(columns))
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * width + legends, rows * height),
        squeeze=False,
        layout="constrained",
    )
    for unused in axes.flat[n:]:
        unused.remove()
    return list(axes.flat[:n])


def fit_page(figure: Figure) -> None:
    """Give a figure without a layout engine the size of what is drawn and written in it."""
    inches = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    left, bottom = _MARGIN - inches.x0, _MARGIN - inches.y0
    right, top = inches.x1 - width + _MARGIN, inches.y1 - height + _MARGIN
    at = figure.subplotpars
    wide, high = width + left + right, height + bottom + top
    sides = {
        "left": (at.left * width + left) / wide,
        "right": (at.right * width + left) / wide,
        "bottom": (at.bottom * height + bottom) / high,
        "top": (at.top * height + bottom) / high,
    }
    figure.set_size_inches(wide, high)
    figure.subplots_adjust(**sides)


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
