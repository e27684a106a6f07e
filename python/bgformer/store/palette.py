"""Colours of clusters, which stay with a cluster when the resolution changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8700FF", "#870F1E",
    "#C3E196", "#5A3C5A", "#4B2DB4", "#F0C3C3", "#C35AFF", "#FF005A", "#78F05A", "#B40000",
    "#780F78", "#4BE1F0", "#D200B4", "#00693C", "#FF6987", "#D2A55A", "#964B87", "#78692D",
    "#D2E100", "#784BF0", "#7887E1", "#E1A5C3", "#6900D2", "#691E96", "#5A961E", "#874BD2",
)  # fmt: skip
"""Colours far apart from each other (CIELAB, the first ones furthest) for normal, red-blind,
green-blind and blue-blind eyes; the first six are Okabe and Ito's."""


GREY = "#999999"
"""Colour of cells that are of no cluster."""


def colours(n: int) -> list[str]:
    """Return a colour for each of n clusters; beyond 32, colours come again."""
    return [PALETTE[cluster % len(PALETTE)] for cluster in range(n)]


def kept_colours(before: Sequence[str], heir_of: np.ndarray) -> list[str]:
    """Return a colour for each cluster: that of the earlier cluster it is heir of, or a new one.

    Parameters
    ----------
    before
        Colours of the earlier clusters.
    heir_of
        For each cluster, the earlier one whose colour it takes, or -1; see `graph.continuity`.
    """
    return _filled(["" if earlier < 0 else before[earlier] for earlier in heir_of])


def added_colours(given: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return a colour for each name: the one given, or a new one."""
    return _filled([given.get(name, "") for name in names])


def _filled(found: list[str]) -> list[str]:
    """Return colours with new ones in the place of those that are missing."""
    times = {colour: found.count(colour) for colour in PALETTE}
    for cluster, colour in enumerate(found):
        if not colour:
            found[cluster] = min(PALETTE, key=times.__getitem__)  # the first of those used least
            times[found[cluster]] += 1
    return found
