"""Evidence for each cluster: what separates it from the one nearest to it, in held-out counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binom, false_discovery_control, norm

from bgformer.data.counts import rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.fit.embedding import embed
from bgformer.network.attention import anchor_weights, heaviest
from bgformer.network.heads import head_anchors, head_columns

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.graph.communities import Partition
    from bgformer.network.network import Network

_CELLS = 20_000
"""Cells that the profiles are taken from."""
_MOST_CELLS = 300
"""Cells of a side that count for a p-value at most, so that power does not grow with the data."""
_FOLD, _DETECTED, _DIFFERENCE, _FALSE = 1.0, 0.4, 0.7, 0.01
"""The rule of scrattch.hicat (Tasic et al. 2018, doi:10.1038/s41586-018-0654-5) for a gene that
tells two clusters apart: at least twice as high (log2), detected in this share of one's cells,
with this relative difference of the shares, at this false discovery rate."""
_NAMED = 5
"""Marker genes that are named."""
_WINDOW = 1 / 8
"""Half the width of the windows in which cells are counted for a gap, as a share of the way from
the middle of one cluster to that of the other."""
_PLACES = 9
"""Places between two clusters where the gap is sought."""


class Profiles(NamedTuple):
    """What counts that were held out from clustering say of each anchor of the linear head.

    Attributes
    ----------
    cells
        Cells nearest to the anchor, shape (m,).
    total
        Sum of each gene's counts per 10,000 over these cells, m x g float32.
    detected
        Cells of these in which the gene is seen, m x g float32.
    nearest
        Anchor nearest to each of the s cells that the profiles are taken from, shape (s,).
    first, second
        Where these cells lie by the first half of their counts, which `nearest` is from, and by
        the second, s x d float16: columns of the latent that the linear head looks at.
    """

    cells: np.ndarray
    total: np.ndarray
    detected: np.ndarray
    nearest: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Gap(NamedTuple):
    """What lies between two clusters."""

    depth: float
    p: float


def profiles(network: Network, data: CountData, anchors: np.ndarray, seed: int) -> Profiles:
    """Deal each count to one of two halves, place cells by one, and sum up the other by anchor.

    If counts are Poisson about a cell's expression, the halves are independent given it (Neufeld
    et al. 2024, JMLR 25(57), "data thinning"), so a gene that differs between clusters in the
    second half does not owe that to the noise that the cells were placed by. The sums of anchors
    add up to those of any clusters made of them.

    Parameters
    ----------
    network, data
        The trained network and its training cells.
    anchors
        m x n_latent, those of both heads.
    seed
        Seeds the choice of cells, if they are many, and the halves.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    one, other = sample.counts.copy(), sample.counts.copy()
    one.data = rng.binomial(one.data.astype(np.int64), 0.5).astype(np.float32)
    other.data -= one.data
    other.eliminate_zeros()
    columns, own = head_columns(anchors.shape[1])[0], head_anchors(len(anchors))[0]
    first, second = (
        embed(network, with_size_factors(half, sample.batch, sample.median_counts))[:, columns]
        for half in (one, other)
    )
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
        first.astype(np.float16),
        second.astype(np.float16),
    )


def evidence(found: Partition, held_out: Profiles, genes: np.ndarray) -> pd.DataFrame:
    """Return what sets each cluster apart from the one nearest to it.

    Parameters
    ----------
    found
        Clusters.
    held_out
        From `profiles`, for the same anchors.
    genes
        Names of the genes.

    Returns
    -------
    A row for each cluster: "cluster", "n_cells", "nearest" (the cluster with most links to it),
    "links" (their share of links, see `communities.ISLAND`: near 0 across a gap, .15 and more
    between halves of a single type), "gap" and "gap_p" (how deep the gap between the two is, 0
    none, 1 empty, and the p-value of there being none; see `gap`), "n_markers" (genes that tell
    the two apart in counts that were held out, see `_FOLD`) and "markers" (names of the first five
    of those that the cluster has more of). With a single cluster there is no gap: nan.
    """
    n_clusters = found.n_clusters
    clusters = found.anchor_clusters[: len(held_out.cells)]
    member = np.zeros((n_clusters, len(clusters)), dtype=np.float32)
    member[clusters, np.arange(len(clusters))] = 1
    cells = np.maximum(member @ held_out.cells, 1)
    mean = member @ held_out.total / cells[:, None]
    share = member @ held_out.detected / cells[:, None]
    n_markers, names = [], []
    for one, other in enumerate(found.nearest):
        z = _different(share[one], share[other], cells[one], cells[other], mean[one], mean[other])
        n_markers.append(int(np.count_nonzero(z)))
        best = np.argsort(-z, kind="stable")[:_NAMED]
        names.append(", ".join(str(genes[gene]) for gene in best if z[gene] > 0))
    of_cells = clusters[held_out.nearest]
    gaps = [
        gap(held_out, of_cells == one, of_cells == other)
        for one, other in enumerate(found.nearest)
    ]
    return pd.DataFrame(
        {
            "cluster": [str(cluster) for cluster in range(n_clusters)],
            "n_cells": np.bincount(found.labels, minlength=n_clusters),
            "nearest": [str(cluster) for cluster in found.nearest],
            "links": found.links,
            "gap": [between.depth for between in gaps],
            "gap_p": [between.p for between in gaps],
            "n_markers": n_markers,
            "markers": names,
        }
    )


def gap(held_out: Profiles, one: np.ndarray, other: np.ndarray) -> Gap:
    """Return how deep the gap between two groups of cells is, and whether chance would make it.

    The first half of the counts says which cells are of which group, the line through the middles
    of both, and where on it cells are fewest. The second half, whose noise is independent, says
    how many cells lie there, and how many in windows of the same width at the middles. The depth
    is 1 minus the ratio of the number in the gap to the smaller of those at the middles, 0 at
    least. If cells were as dense there as at the smaller middle, either number would be as likely
    to be the larger: the p-value is the binomial probability that no more lie in the gap.

    Parameters
    ----------
    held_out
        From `profiles`.
    one, other
        True for the cells of each group, shape (s,).
    """
    if not one.any() or not other.any() or np.array_equal(one, other):
        return Gap(np.nan, np.nan)
    first, second = held_out.first.astype(np.float64), held_out.second.astype(np.float64)
    middles = np.array([first[group].mean(axis=0) for group in (other, one)])
    axis = middles[1] - middles[0]
    axis /= max(axis @ axis, 1e-12)  # the middles are at 0 and 1
    either = one | other
    along, again = ((half - middles[0]) @ axis for half in (first, second))
    low, high = np.median(along[other]), np.median(along[one])
    width = _WINDOW * (high - low)
    places = np.linspace(low + 2 * width, high - 2 * width, _PLACES)
    near = np.abs(along[either, None] - places) < 2 * width
    at = [places[near.sum(axis=0).argmin()], low, high]
    in_gap, *in_middles = (np.abs(again[either, None] - at) < width).sum(axis=0)
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
    """Return the z of the difference in detection of the genes that differ, 0 for all others."""
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
