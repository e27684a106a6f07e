"""Evidence for each cluster: what separates it from its nearest one in held-out counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binom, false_discovery_control, norm

from bgformer.graph.outliers import null
from bgformer.graph.thinning import halves, members, per_10_000
from bgformer.network.anchor_weights import heaviest
from bgformer.network.heads import head_anchors

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network

_CELLS = 20_000
"""Maximum number of cells used for the profiles."""
_MOST_CELLS = 300
"""Maximum number of cells per cluster in a test, so that its power does not grow with the data."""
_FOLD, _DETECTED, _DIFFERENCE, _FALSE = 1.0, 0.4, 0.7, 0.01
"""Criteria of scrattch.hicat (Tasic et al. 2018, doi:10.1038/s41586-018-0654-5) for a gene that
distinguishes two clusters: minimum log2 fold change, minimum share of cells of one cluster in
which it is detected, minimum relative difference of the shares, maximum false discovery rate."""
_NAMED = 5
"""Number of marker genes listed by name."""
_WINDOW = 1 / 8
"""Half the width of the windows in which cells are counted for a gap, as a share of the distance
between the middles of the two clusters."""
_FARTHEST = 60_000
"""Bound on the latent positions that are kept, so that they fit into float16."""
_PLACES = 9
"""Number of positions between two clusters where the gap is searched."""


class Profiles(NamedTuple):
    """Held-out counts of each anchor of the linear head.

    m is the number of anchors of this head, s the number of cells used, d the number of latent
    columns of this head, and t the number of cells that were scored; see `graph.outliers`.

    Attributes
    ----------
    cells
        Number of cells nearest to each anchor, shape (m,) float32.
    total
        Sum of each gene's counts per 10,000 over these cells, m x g float32.
    detected
        Number of these cells in which each gene is detected, m x g float32.
    nearest
        Nearest anchor of each cell, shape (s,) int32.
    first, second
        Latent positions of the cells from the first half of their counts, which also determines
        `nearest`, and from the second half, s x d float16 each.
    scored_nearest
        Nearest anchor of each scored cell, shape (t,) int32.
    scored_ratio, scored_counts, scored_share
        Their scores, shape (t,) float32 each; see `outliers.Scored`.
    """

    cells: np.ndarray
    total: np.ndarray
    detected: np.ndarray
    nearest: np.ndarray
    first: np.ndarray
    second: np.ndarray
    scored_nearest: np.ndarray
    scored_ratio: np.ndarray
    scored_counts: np.ndarray
    scored_share: np.ndarray


class Clusters(Protocol):
    """Clusters that evidence is computed for, k of them.

    Attributes
    ----------
    anchor_clusters
        Cluster of each anchor, shape (m,).
    nearest, links
        For each cluster, the one it is most linked to, and their share of links, shape (k,).
    names, n_cells
        Name and number of cells of each cluster.
    """

    @property
    def anchor_clusters(self) -> np.ndarray: ...  # noqa: D102
    @property
    def nearest(self) -> np.ndarray: ...  # noqa: D102
    @property
    def links(self) -> np.ndarray: ...  # noqa: D102
    @property
    def n_clusters(self) -> int: ...  # noqa: D102
    @property
    def n_cells(self) -> np.ndarray: ...  # noqa: D102
    @property
    def names(self) -> list[str]: ...  # noqa: D102


class Gap(NamedTuple):
    """The density gap between two clusters: its depth, from 0 to 1, and a p-value."""

    depth: float
    p: float


def profiles(network: Network, data: CountData, anchors: np.ndarray, seed: int) -> Profiles:
    """Split counts into two random halves; assign cells by one and sum up the other per anchor.

    A difference between clusters in the second half is not due to the noise by which cells were
    assigned; see `thinning.halves`. Sums per anchor can be added up to sums per cluster.

    Parameters
    ----------
    network, data
        The trained network and its training cells.
    anchors
        Anchors of both heads, one row each with n_latent columns.
    seed
        Seed for the choice of cells and for the halves.

    Returns
    -------
    The held-out counts, of at most 20,000 cells.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    first, second = halves(network, sample, anchors, seed)
    n_anchors = head_anchors(len(anchors))[0].stop
    of_anchors = members(first.nearest, n_anchors)
    one, other = (
        np.clip(half.latent, -_FARTHEST, _FARTHEST).astype(np.float16) for half in (first, second)
    )
    scored = null((first, second), anchors, rng)
    return Profiles(
        np.bincount(first.nearest, minlength=n_anchors).astype(np.float32),
        (of_anchors @ per_10_000(second.counts)).toarray(),
        (of_anchors @ (second.counts > 0).astype(np.float32)).toarray(),
        first.nearest.astype(np.int32),
        one,
        other,
        *scored,
    )


def of_some(held_out: Profiles, weights: sparse.csr_matrix) -> Profiles:
    """Return the profiles of the anchors that are nearest to some cells, given their weights.

    Held-out counts are not kept for each cell. In a subset, those of anchors without any of its
    cells would otherwise count for clusters that they have nothing to do with.
    """
    used = np.zeros(len(held_out.cells), dtype=bool)
    used[heaviest(sparse.csr_matrix(weights[:, : len(used)]))] = True
    inside = used[held_out.nearest]
    return held_out._replace(
        cells=held_out.cells * used,
        total=held_out.total * used[:, None],
        detected=held_out.detected * used[:, None],
        nearest=held_out.nearest[inside],
        first=held_out.first[inside],
        second=held_out.second[inside],
    )


def evidence(found: Clusters, held_out: Profiles, genes: np.ndarray) -> pd.DataFrame:
    """Return a table of what separates each cluster from its nearest one.

    Parameters
    ----------
    found
        The clusters.
    held_out
        Result of `profiles` for the same anchors.
    genes
        Names of the genes, shape (g,).

    Returns
    -------
    Table with a row for each cluster:

    "cluster", "n_cells"
        Name of the cluster and its number of cells.
    "nearest", "links"
        The cluster most linked to it, and their share of links (see `anchor_graph.ISLAND`): near 0
        across a gap, 0.15 or more between two halves of a single type.
    "gap", "gap_p"
        Depth of the density gap between the two, from 0 (none) to 1 (empty), and its p-value; see
        `gap`. Both are nan for a single cluster.
    "n_markers", "markers"
        Number of genes that distinguish the two in held-out counts (see `_FOLD`), and the names of
        the best five that are higher in the cluster.
    """
    n_clusters = found.n_clusters
    clusters = found.anchor_clusters[: len(held_out.cells)]
    member = np.zeros((n_clusters, len(clusters)), dtype=np.float32)
    member[clusters, np.arange(len(clusters))] = 1
    cells = np.maximum(member @ held_out.cells, 1)
    mean = member @ held_out.total / cells[:, None]
    share = member @ held_out.detected / cells[:, None]
    n_markers, names = [], []
    of_cells = clusters[held_out.nearest]
    nearest = np.where(found.links > 0, found.nearest, _nearest_place(held_out, of_cells, found))
    for one, other in enumerate(nearest):
        z = _different(share[one], share[other], cells[one], cells[other], mean[one], mean[other])
        n_markers.append(int(np.count_nonzero(z)))
        best = np.argsort(-z, kind="stable")[:_NAMED]
        names.append(", ".join(str(genes[gene]) for gene in best if z[gene] > 0))
    gaps = [gap(held_out, of_cells == one, of_cells == other) for one, other in enumerate(nearest)]
    return pd.DataFrame(
        {
            "cluster": found.names,
            "n_cells": found.n_cells,
            "nearest": [str(cluster) for cluster in nearest],
            "links": found.links,
            "gap": [between.depth for between in gaps],
            "gap_p": [between.p for between in gaps],
            "n_markers": n_markers,
            "markers": names,
        }
    )


def _nearest_place(held_out: Profiles, of_cells: np.ndarray, found: Clusters) -> np.ndarray:
    """Return for each cluster the one whose centre is nearest, where no links tell, shape (k,)."""
    k = found.n_clusters
    cells = np.bincount(of_cells, minlength=k)[:, None]
    places = np.zeros((k, held_out.first.shape[1]))
    np.add.at(places, of_cells, held_out.first.astype(np.float64))
    centres = np.where(cells > 0, places / np.maximum(cells, 1), np.inf)
    with np.errstate(invalid="ignore"):
        apart = np.square(centres[:, None] - centres).sum(axis=2)
    np.fill_diagonal(apart, np.inf if k > 1 else 0)
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf).argmin(axis=1)


def gap(held_out: Profiles, one: np.ndarray, other: np.ndarray) -> Gap:
    """Return the depth of the density gap between two groups of cells, and its p-value.

    The first half of the counts defines the groups, the line through their middles, and the
    position between them with the fewest cells. The second half has independent noise. It gives
    the number of cells in a window at this position, and in windows of the same width at the
    middles. The depth is 1 minus the number in the gap over the smaller number at a middle, and at
    least 0.

    The null hypothesis is that cells are as dense in the gap as at that middle. The p-value is the
    binomial probability, with 1/2 for each of the two windows, of as few cells in the gap or
    fewer.

    Parameters
    ----------
    held_out
        Result of `profiles`.
    one, other
        True for the cells of each group, shape (s,).

    Returns
    -------
    Depth and p-value; both nan if a group is empty or both are the same.
    """
    if not one.any() or not other.any() or np.array_equal(one, other):
        return Gap(np.nan, np.nan)
    either = one | other
    one, other = one[either], other[either]
    first, second = (half[either].astype(np.float64) for half in (held_out.first, held_out.second))
    middles = np.array([first[group].mean(axis=0) for group in (other, one)])
    axis = middles[1] - middles[0]
    axis /= max(axis @ axis, 1e-12)  # scaled so that the middles are at 0 and 1
    along, again = ((half - middles[0]) @ axis for half in (first, second))
    low, high = np.median(along[other]), np.median(along[one])
    width = _WINDOW * (high - low)
    places = np.linspace(low + 2 * width, high - 2 * width, _PLACES)
    near = np.abs(along[:, None] - places) < 2 * width
    at = [places[near.sum(axis=0).argmin()], low, high]
    in_gap, *in_middles = (np.abs(again[:, None] - at) < width).sum(axis=0)
    smaller = min(in_middles)
    return Gap(
        max(0.0, 1 - in_gap / max(smaller, 1)), float(binom.cdf(in_gap, in_gap + smaller, 0.5))
    )


def _different(
    share: np.ndarray,
    other_share: np.ndarray,
    n_cells: float,
    n_other: float,
    mean: np.ndarray,
    other_mean: np.ndarray,
) -> np.ndarray:
    """Return z of the difference in detection for genes that meet all criteria, 0 for others."""
    fold = np.log2((mean + 0.1) / (other_mean + 0.1))
    high, low = np.maximum(share, other_share), np.minimum(share, other_share)
    n, m = min(n_cells, _MOST_CELLS), min(n_other, _MOST_CELLS)
    pooled = (share * n + other_share * m) / (n + m)
    z = (share - other_share) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n + 1 / m))
    q = false_discovery_control(2 * norm.sf(np.abs(z)))
    differs = (
        (np.abs(fold) > _FOLD)
        & (high > _DETECTED)
        & (high - low > _DIFFERENCE * high)
        & (q < _FALSE)
    )
    return np.where(differs, z, 0)
