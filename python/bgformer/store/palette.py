"""Colours of clusters, which stay with a cluster when the resolution changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgformer.graph.continuity import heirs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from bgformer.graph.levels import Level

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


def kept_colours(
    before: Sequence[str], heir_of: np.ndarray, elsewhere: Sequence[str] = ()
) -> list[str]:
    """Return a colour for each cluster: that of the earlier cluster it is heir of, or a new one.

    Parameters
    ----------
    before
        Colours of the earlier clusters.
    heir_of
        For each cluster, the earlier one whose colour it takes, or -1; see `graph.continuity`.
    elsewhere
        Colours that new ones should differ from, if there are enough.
    """
    found = ["" if earlier < 0 else before[earlier] for earlier in heir_of]
    return _filled(found, elsewhere)


def colours_at_levels(
    colours: Sequence[str], clusters: np.ndarray, levels: Sequence[Level], mass: np.ndarray
) -> list[str]:
    """Return a colour for each cluster of each level, in the order of `graph.tree.Tree.nodes`.

    Clusters pass on their colours, from the level whose number of clusters is nearest to that of
    `clusters`. On both sides of it, a colour goes to the largest part of a cluster at the next
    level.

    Parameters
    ----------
    colours, clusters
        Colours of some clusters, and the cluster of each anchor, shape (m,).
    levels
        Other clusterings of the same anchors, in ascending order of the resolution.
    mass
        As in `graph.continuity.heirs`.
    """
    start = min(range(len(levels)), key=lambda i: abs(levels[i].n_clusters - len(colours)))
    found: dict[int, list[str]] = {}

    def inherit(at: int, before: np.ndarray, given: Sequence[str]) -> None:
        now = levels[at].anchor_clusters
        elsewhere = [colour for own in found.values() for colour in own]
        found[at] = kept_colours(given, heirs(before, now, mass), elsewhere)

    inherit(start, clusters, colours)
    for at in range(start + 1, len(levels)):
        inherit(at, levels[at - 1].anchor_clusters, found[at - 1])
    for at in range(start - 1, -1, -1):
        inherit(at, levels[at + 1].anchor_clusters, found[at + 1])
    return [colour for at in range(len(levels)) for colour in found[at]]


def added_colours(given: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return a colour for each name: the one given, or a new one."""
    return _filled([given.get(name, "") for name in names])


def _filled(found: list[str], elsewhere: Sequence[str] = ()) -> list[str]:
    """Return colours with new ones in the place of those that are missing."""
    for cluster, colour in enumerate(found):
        if not colour:  # the first of those used least
            found[cluster] = min(PALETTE, key=lambda c: (found.count(c), elsewhere.count(c)))
    return found
