"""Names in a plot, beside each other and clear of what is drawn."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_LONGEST_LINE = 18
_RINGS, _ANGLES = 8, 24
"""Places to try around what is named."""
_COVERED, _OVERLAPPING, _OUTSIDE = 10.0, 30.0, 50.0
"""Cost of covering all of one group, all of another name, and of being outside the panel."""
_BESIDE, _RING = 1.2, 0.3
"""Cost of a place beside the group, and of each half line further away."""
_ROUNDS = 4


def name_groups(axis: Axes, groups: pd.Series, at: np.ndarray) -> None:
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
    sizes = groups.value_counts()
    names = [name for name in groups.cat.categories if sizes[name]]
    if not names:
        return
    step = np.ptp(at, axis=0).max() / 12
    middles = [_middle(at[(groups == name).to_numpy()], step) for name in names]
    shares = 1 / groups.map(sizes).astype(float)
    seen = shares.notna().to_numpy()
    write_names(axis, list(map(str, names)), np.array(middles), at[seen], shares[seen].to_numpy())


def _middle(cells: np.ndarray, step: float) -> np.ndarray:
    """Return the cell in the middle of the densest part of a group, which may have several."""
    boxes = np.floor(cells / step)
    _, box, counts = np.unique(boxes, axis=0, return_inverse=True, return_counts=True)
    densest = cells[box.ravel() == counts.argmax()].mean(axis=0)
    part = cells[np.square(cells - densest).sum(axis=1) <= (2.5 * step) ** 2]
    away = np.square(part - np.median(part, axis=0)).sum(axis=1)
    return np.asarray(part[away.argmin()])


def write_names(
    axis: Axes,
    names: Sequence[str],
    at: np.ndarray,
    points: np.ndarray,
    shares: np.ndarray,
    spread: np.ndarray | None = None,
) -> None:
    """Write names at their places, moved so that they cover no other name and few points.

    Parameters
    ----------
    axis
        Where to write.
    names
        The k names.
    at
        What they name, k x 2, in units of the axes.
    points
        What is not to be covered, n x 2.
    shares
        Share of its group that each point is, (n,).
    spread
        Added to `points`, n x 2, in printer's points; None for 0.
    """
    lines = [textwrap.fill(name, _LONGEST_LINE, break_long_words=False) for name in names]
    small = len(names) > 20 or max(map(len, names)) > 4
    line: dict[str, Any] = {"arrowstyle": "-", "color": "0.3", "linewidth": 0.6, "shrinkB": 0}
    texts = [
        axis.annotate(
            text,
            place,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            linespacing=0.9,
            fontsize=8 if small else 10,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops=line,
            parse_math=False,
        )
        for text, place in zip(lines, at, strict=True)
    ]
    for text in texts:
        text.set_in_layout(False)
    axis.add_artist(_Arranger(texts, points, shares, spread))


class _Arranger(Artist):
    """Moves names to free places whenever a figure is drawn: only then its size is known."""

    def __init__(
        self,
        texts: list[Annotation],
        points: np.ndarray,
        shares: np.ndarray,
        spread: np.ndarray | None,
    ) -> None:
        super().__init__()
        self._texts, self._points, self._shares, self._spread = texts, points, shares, spread
        self.set_zorder(-1)  # before the names are drawn
        self.set_in_layout(False)

    def draw(self, renderer: Any) -> None:
        """Move the names; this draws nothing."""
        axis, texts = self.axes, self._texts
        assert axis is not None
        pixels = axis.figure.dpi / 72
        points = axis.transData.transform(self._points)
        reach = 0.0
        if self._spread is not None:
            points = points + self._spread * pixels
            reach = float(np.abs(self._spread).max(initial=0)) * pixels
        sizes = np.array([_size(text, renderer) for text in texts])
        height = sizes[:, 1].min()
        crowd = _Crowd(points, self._shares, np.array(axis.bbox.extents), height / 5)
        ends = axis.transData.transform([text.xy for text in texts])
        places = [_around(end, size, height) for end, size in zip(ends, sizes, strict=True)]
        costs = [crowd.cost(at, size) + _far() for at, size in zip(places, sizes, strict=True)]
        chosen = [int(cost.argmin()) for cost in costs]
        for _ in range(_ROUNDS):
            for one, (at, size) in enumerate(zip(places, sizes, strict=True)):
                others = [i for i in range(len(texts)) if i != one]
                taken = np.array([places[i][chosen[i]] for i in others]).reshape(-1, 2)
                cost = costs[one] + _OVERLAPPING * _overlap(at, size, taken, sizes[others])
                chosen[one] = int(cost.argmin())
        for text, end, at, size, which in zip(texts, ends, places, sizes, chosen, strict=True):
            moved = at[which] - end
            text.xyann = tuple(moved / pixels)
            gap = np.hypot(*np.maximum(np.abs(moved) - size / 2, 0))
            assert text.arrow_patch is not None
            text.arrow_patch.set_visible(bool(gap > height + reach))


def _size(text: Annotation, renderer: Any) -> np.ndarray:
    """Return width and height of a name in pixels."""
    box = Text.get_window_extent(text, renderer)  # without the line to what it names
    return np.array([box.width, box.height])


def _around(end: np.ndarray, size: np.ndarray, height: float) -> np.ndarray:
    """Return places for the middle of a name, p x 2: on what it names first, then around it."""
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    away = np.arange(1, _RINGS + 1)[:, None, None] * height / 2
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.vstack([end, (end + direction * (size / 2 + away)).reshape(-1, 2)])


def _far() -> np.ndarray:
    """Return the cost of the distance of each place that `_around` names, (p,)."""
    return np.concatenate([[0], _BESIDE + _RING * np.repeat(np.arange(1, _RINGS + 1), _ANGLES)])


def _overlap(at: np.ndarray, size: np.ndarray, taken: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return how much of a name, at each of p places, other names would cover, (p,)."""
    apart = np.abs(at[:, None] - taken[None])
    shared = np.clip((size + sizes) / 2 - apart, 0, np.minimum(size, sizes))
    smaller = np.minimum(size.prod(), sizes.prod(axis=1))
    return np.asarray((shared.prod(axis=2) / smaller).sum(axis=1))


class _Crowd:
    """How much is drawn where, summed so that any box is four numbers.

    Parameters
    ----------
    points, shares
        What is drawn, n x 2 in pixels, and the share of its group that each is.
    panel
        Left, lower, right and upper end of the panel, in pixels.
    step
        Width of a box, in pixels.
    """

    def __init__(
        self, points: np.ndarray, shares: np.ndarray, panel: np.ndarray, step: float
    ) -> None:
        self._low, self._high, self._step = panel[:2], panel[2:], step
        self._n = np.maximum(np.ceil((self._high - self._low) / step).astype(int), 1)
        bins = [np.arange(n + 1) * step + low for n, low in zip(self._n, self._low, strict=True)]
        counts = np.histogram2d(points[:, 0], points[:, 1], bins=bins, weights=shares)[0]
        self._sums = np.pad(counts.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def cost(self, at: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Return the cost of a name at each of p places, (p,)."""
        low, high = at - size / 2, at + size / 2
        inside = np.clip(np.minimum(high, self._high) - np.maximum(low, self._low), 0, None)
        outside = 1 - (inside / size).prod(axis=1)
        x0, y0 = self._box(low, np.floor).T
        x1, y1 = self._box(high, np.ceil).T
        covered = self._sums[x1, y1] - self._sums[x0, y1] - self._sums[x1, y0]
        covered = covered + self._sums[x0, y0]
        return np.asarray(_COVERED * covered + _OUTSIDE * outside)

    def _box(self, at: np.ndarray, whole: Any) -> np.ndarray:
        """Return the box that an end is in, p x 2."""
        return np.asarray(np.clip(whole((at - self._low) / self._step).astype(int), 0, self._n))
