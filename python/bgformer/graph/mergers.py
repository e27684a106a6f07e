"""Merge groups of anchors by the links between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAVING = 0.3
"""Maximum share of an island's links that lead to other groups."""


def numbered(clusters: np.ndarray) -> np.ndarray:
    """Return the same clusters, numbered from 0 without gaps."""
    return np.unique(clusters, return_inverse=True)[1]


def first_of(clusters: np.ndarray) -> np.ndarray:
    """Return the index of the first member of each cluster, numbered without gaps."""
    return np.unique(clusters, return_index=True)[1]


def mergers(
    links: np.ndarray, clusters: np.ndarray, exponent: float, within: np.ndarray | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Merge pairs of clusters until one is left, or one in each coarser cluster.

    Each merger takes the pair with the largest value of ``l_ab / (d_a d_b)^exponent``. l_ab are
    the links between clusters a and b, and d_a and d_b are the total links of each, all as shares
    of all links.

    Parameters
    ----------
    links
        Links between anchors, m x m.
    clusters
        Cluster of each anchor, shape (m,), numbered without gaps.
    exponent
        1 for the ratio to the expectation of modularity, 1/2 for the share of links.
    within
        Coarser clusters, shape (m,); None for one that holds all.

    Yields
    ------
    The value of the merger, and the clusters after it; a merged cluster keeps the lower number.
    """
    parents = np.zeros(clusters.max() + 1) if within is None else within[first_of(clusters)]
    between = links_between(links, clusters)
    alive = np.arange(len(between))
    while len(alive) > 1:
        value = link_values(between[np.ix_(alive, alive)], exponent)
        value[np.tril_indices(len(alive))] = -1
        value[parents[alive][:, None] != parents[alive]] = -1
        i, j = np.unravel_index(value.argmax(), value.shape)
        if value[i, j] < 0:
            return
        a, b = alive[i], alive[j]
        between[a] += between[b]
        between[:, a] += between[:, b]
        between[b], between[:, b] = 0, 0
        alive = np.delete(alive, j)
        clusters = np.where(clusters == b, a, clusters)
        yield float(value[i, j]), clusters


def without_leaving(links: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Merge groups with too many links to other groups into the one they are most linked to."""
    while True:
        values, numbers = np.unique(groups, return_inverse=True)
        between = links_between(links, numbers)
        leaving = 1 - between.diagonal() / np.maximum(between.sum(axis=1), 1e-300)
        worst = int(leaving.argmax())
        if len(values) == 1 or leaving[worst] < _LEAVING:
            return groups
        value = link_values(between, 0.5)[worst]
        value[worst] = -1
        groups = np.where(groups == values[worst], values[value.argmax()], groups)


def links_between(links: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return the links between and within clusters, k x k, as shares of all links."""
    member = np.zeros((len(clusters), clusters.max() + 1))
    member[np.arange(len(clusters)), clusters] = 1
    between = member.T @ links @ member
    return between / max(between.sum(), 1e-300)


def link_values(between: np.ndarray, exponent: float) -> np.ndarray:
    """Return ``l_ab / (d_a d_b)^exponent`` for all pairs; see `mergers`."""
    degree = np.maximum(between.sum(axis=1), 1e-100)
    return between / np.outer(degree, degree) ** exponent
