"""Evidence for each cluster: what separates it from its nearest one in held-out counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binom, false_discovery_control, norm

from bgformer.data.counts import rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.fit.embedding import embed
from bgformer.network.anchor_weights import anchor_weights, heaviest
from bgformer.network.heads import head_anchors, head_columns
from bgformer.runtime.threads import at_once

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.graph.communities import Partition
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

    m is the number of anchors of this head, s the number of cells used and d the number of latent
    columns of this head.

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
    """

    cells: np.ndarray
    total: np.ndarray
    detected: np.ndarray
    nearest: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Gap(NamedTuple):
    """The density gap between two clusters: its depth, from 0 to 1, and a p-value."""

    depth: float
    p: float


def profiles(network: Network, data: CountData, anchors: np.ndarray, seed: int) -> Profiles:
    """Split counts into two random halves; assign cells by one and sum up the other per anchor.

    Given a cell's expression, Poisson counts split this way are independent (data thinning;
    Neufeld et al. 2024, JMLR 25(57)). A difference between clusters in the second half is
    therefore not due to the noise by which cells were assigned. Sums per anchor can be added up to
    sums per cluster.

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
    one, other = sample.counts.copy(), sample.counts.copy()
    one.data = rng.binomial(one.data.astype(np.int64), 0.5).astype(np.float32)
    other.data -= one.data
    other.eliminate_zeros()
    columns, own = head_columns(anchors.shape[1])[0], head_anchors(len(anchors))[0]

    def linear(half: sparse.csr_matrix) -> np.ndarray:
        counts = with_size_factors(half, sample.batch, sample.median_counts)
        return embed(network, counts)[:, columns]

    first, second = at_once(linear, (one, other))
    weights = anchor_weights(first, anchors[own, columns], n_heads=1)
    nearest = heaviest(weights)
    of_anchors = sparse.csr_matrix(
        (np.ones(len(nearest), dtype=np.float32), (nearest, np.arange(len(nearest)))),
        shape=(weights.shape[1], len(nearest)),
    )
    depth = np.maximum(np.asarray(other.sum(axis=1)).ravel(), 1)
    detected = (of_anchors @ (other > 0).astype(np.float32)).toarray()
    other.data *= (LOG_TOTAL / depth)[rows_of_values(other)].astype(np.float32)
    return Profiles(
        np.bincount(nearest, minlength=weights.shape[1]).astype(np.float32),
        (of_anchors @ other).toarray(),
        detected,
        nearest.astype(np.int32),
        *(np.clip(half, -_FARTHEST, _FARTHEST).astype(np.float16) for half in (first, second)),
    )


def of_some(held_out: Profiles, weights: sparse.csr_matrix) -> Profiles:
    """Return the profiles of the anchors that are nearest to some cells, given their weights.

    Held-out counts are not kept for each cell. In a subset, those of anchors without any of its
    cells would otherwise count for clusters that they have nothing to do with.
    """
    used = np.zeros(len(held_out.cells), dtype=bool)
    used[heaviest(sparse.csr_matrix(weights[:, : len(used)]))] = True
    inside = used[held_out.nearest]
    return Profiles(
        held_out.cells * used,
        *(values * used[:, None] for values in (held_out.total, held_out.detected)),
        *(values[inside] for values in (held_out.nearest, held_out.first, held_out.second)),
    )


def evidence(found: Partition, held_out: Profiles, genes: np.ndarray) -> pd.DataFrame:
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
            "n_cells": np.bincount(found.labels, minlength=n_clusters),
            "nearest": [str(cluster) for cluster in nearest],
            "links": found.links,
            "gap": [between.depth for between in gaps],
            "gap_p": [between.p for between in gaps],
            "n_markers": n_markers,
            "markers": names,
        }
    )


def _nearest_place(held_out: Profiles, of_cells: np.ndarray, found: Partition) -> np.ndarray:
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
