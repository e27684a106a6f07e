"""Score new cells that are unlike the reference: other new cells explain them better than it does.

A type that the reference lacks is placed somewhere among its anchors. The counts of such a cell
look like those of the other new cells there, and less like those of the reference's cells there.
A single cell has too few counts to show that by itself, so the score compares two profiles at the
cell's anchor: one of the reference, one of all new cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bgformer.data.counts import cell_totals, rows_of_values
from bgformer.data.scaling import LOG_TOTAL
from bgformer.graph.thinning import members, per_10_000
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import head_anchors, head_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

    from bgformer.graph.thinning import Half

UNASSIGNED = 0.93
"""Score above which a cell is unassigned. Chosen on three data sets; see docs/benchmarks.md."""
_SCORED = 5000
"""Maximum number of the reference's cells that are scored."""
_SHARE = 0.1
"""Number of new cells as a share of the reference's: fewer are treated as this share, and more
than the reference's as 1."""
_OVERALL, _REFERENCE = 1.0, 10.0
"""Weight of the prior of each profile, in cells: the reference's mean profile for that of an
anchor, and the latter for the profile of the new cells. Chosen on the same data sets."""
_CLUSTER = 100.0
"""Weight of the prior of a cluster's mean and spread, in cells: those of all clusters."""
_FEWEST, _LEAST = 3, 30
"""Numbers of clusters, and of new cells in each, from which batches can be told from types."""
_PSEUDOCOUNT = 10.0
_EPSILON = 1e-7


class Compared(NamedTuple):
    """The profiles of m anchors in the reference, and in new cells.

    Attributes
    ----------
    expected
        Share of each gene in the reference, m x g, rows summing to 1.
    seen, n_seen
        Counts per 10,000 of the new cells around each anchor, m x g, and their sum, shape (m,).
    most
        The sum in the reference, shape (m,). New cells count for no more.
    own
        Share of a cell's own counts in the profile of its anchor, shape (m,).
    """

    expected: np.ndarray
    seen: np.ndarray
    n_seen: np.ndarray
    most: np.ndarray
    own: np.ndarray


class Scored(NamedTuple):
    """How much better new cells explain n cells than the reference does.

    Attributes
    ----------
    ratio
        Log likelihood ratio over the root of the counts, shape (n,).
    counts
        Counts of each cell, at least 1, shape (n,).
    share
        Number of the new cells as a share of the reference's, shape (n,).
    """

    ratio: np.ndarray
    counts: np.ndarray
    share: np.ndarray


def smoothing(anchors: np.ndarray) -> sparse.csr_matrix:
    """Return the weights of the linear head's anchors on each other, which smooth profiles.

    Parameters
    ----------
    anchors
        Anchors of both heads, one row each with n_latent columns.
    """
    own = anchors[head_anchors(len(anchors))[0], head_columns(anchors.shape[1])[0]]
    return anchor_weights(own, own, n_heads=1)


def compared(
    reference: np.ndarray,
    new: np.ndarray,
    smooth: sparse.csr_matrix,
    batch: np.ndarray | None = None,
) -> Compared:
    """Return the profiles of the reference and of new cells, given counts per 10,000 per anchor.

    Parameters
    ----------
    reference, new
        Sums of the held-out counts per 10,000 of the cells nearest to each anchor, m x g.
    smooth
        See `smoothing`.
    batch
        Ratio of each gene between the new cells and the reference that is not due to types, shape
        (g,), 0 for genes that were not measured; None if there is no difference.
    """
    most = smooth @ reference.sum(axis=1)
    overall = reference.sum(axis=0) / reference.sum()
    expected = smooth @ reference + _OVERALL * LOG_TOTAL * overall
    if batch is not None:
        expected *= batch
    expected /= expected.sum(axis=1, keepdims=True)
    return Compared(
        expected, smooth @ new, smooth @ new.sum(axis=1), most, np.asarray(smooth.diagonal())
    )


def log_ratios(
    pair: Sequence[Half],
    profiles: Sequence[Compared],
    *,
    own: bool,
    most: np.ndarray | float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much better new cells explain cells than the reference does.

    Each half of a cell's counts is explained at the anchor of the other half.

    Parameters
    ----------
    pair
        Both halves of the n cells.
    profiles
        Profiles for the cells that the first half places, and for those that the second does.
    own
        Whether the cells themselves are among the new ones. Their own counts are then left out.
    most
        Maximum number of new cells that count, as a share of the reference's.

    Returns
    -------
    Ratio and counts of each cell; see `Scored`.
    """
    ratio, depth = np.zeros((2, len(pair[0].nearest)))
    for by, held_out, at in zip(pair, pair[::-1], profiles, strict=True):
        counts, anchor = held_out.counts, by.nearest
        totals, cell = cell_totals(counts), rows_of_values(counts)
        places = (anchor[cell], counts.indices)
        mine = at.own[anchor] * own
        seen = at.seen[places] - counts.data * (mine * LOG_TOTAL / np.maximum(totals, 1))[cell]
        n_seen = np.maximum(at.n_seen[anchor] - mine * LOG_TOTAL, 0)
        counted = np.minimum(n_seen, most * at.most[anchor])
        shrunk = counted / np.maximum(n_seen, 1)
        prior, expected = _REFERENCE * LOG_TOTAL, at.expected[places]
        found = np.maximum(seen, 0) * shrunk[cell] + prior * expected
        found /= (counted + prior)[cell]
        gain = counts.data * np.log((found + _EPSILON) / (expected + _EPSILON))
        ratio += np.bincount(cell, gain, minlength=len(anchor))
        depth += totals
    depth = np.maximum(depth, 1)
    return ratio / np.sqrt(depth), depth


def null(
    pair: tuple[Half, Half], anchors: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score the reference's own cells: one random half of them as new cells beside the other.

    Each is compared with another share of its half, because there may be few new cells or many.

    Parameters
    ----------
    pair
        Both halves of the counts of the reference's cells.
    anchors
        As in `smoothing`.
    rng
        Draws the cells.

    Returns
    -------
    Nearest anchor, ratio, counts and share of at most 5000 cells; see `graph.evidence.Profiles`.
    """
    smooth, n = smoothing(anchors), len(pair[0].nearest)
    as_new = rng.random(n) < 0.5
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[:_SCORED]] = True
    share = np.exp(rng.uniform(np.log(_SHARE), 0, n))
    found = np.zeros((2, n))
    tables = {some: pooled(pair, smooth.shape[0], as_new == some) for some in (True, False)}
    for some, reference in ((True, tables[False][0]), (False, tables[True][0])):
        cells = np.flatnonzero(chosen & (as_new == some))
        profiles = [compared(reference, new, smooth) for new in tables[some]]
        found[:, cells] = log_ratios(_rows(pair, cells), profiles, own=True, most=share[cells])
    scored = (*found[:, chosen], share[chosen])
    nearest = pair[0].nearest[chosen].astype(np.int32)
    return nearest, *(values.astype(np.float32) for values in scored)


def pooled(
    pair: Sequence[Half], n_anchors: int, some: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return held-out counts per 10,000 at each anchor, m x g, by each half that places cells."""
    first, second = (
        (members(by.nearest, n_anchors, some) @ per_10_000(held_out.counts)).toarray()
        for by, held_out in zip(pair, pair[::-1], strict=True)
    )
    return first, second


def _rows(pair: Sequence[Half], cells: np.ndarray) -> list[Half]:
    """Return both halves of some of the cells."""
    return [half._replace(counts=half.counts[cells], nearest=half.nearest[cells]) for half in pair]


def batch_ratio(
    reference: np.ndarray, new: np.ndarray, anchor_clusters: np.ndarray, counts: float
) -> np.ndarray | None:
    """Return what differs between new cells and the reference in the median cluster.

    A difference of a type is in one cluster; one of a batch is in all of them.

    Parameters
    ----------
    reference, new
        As in `compared`.
    anchor_clusters
        Cluster of each anchor of the linear head, shape (m,).
    counts
        Typical number of counts of a cell.

    Returns
    -------
    Ratio of each gene, shape (g,); None if fewer than three clusters have enough new cells.
    """
    pseudocount, logs = _PSEUDOCOUNT * LOG_TOTAL / counts, []
    n_new, n_reference = new.sum(axis=1), reference.sum(axis=1)
    for cluster in np.unique(anchor_clusters):
        at = np.flatnonzero((anchor_clusters == cluster) & (n_reference > 0))
        if n_new[at].sum() >= _LEAST * LOG_TOTAL:
            expected = (n_new[at] / n_reference[at]) @ reference[at]
            logs.append(np.log((new[at].sum(axis=0) + pseudocount) / (expected + pseudocount)))
    return np.exp(np.median(logs, axis=0)) if len(logs) >= _FEWEST else None


def scores(found: Scored, labels: np.ndarray, own: Scored, own_labels: np.ndarray) -> np.ndarray:
    """Return the share of the reference's cells that are less unlike it, shape (n,) float32.

    Ratios are compared as differences from what is usual for cells of a cluster with as many
    counts and as many new cells around them, in units of the usual difference.

    Parameters
    ----------
    found, labels
        New cells, and their clusters, shape (n,).
    own, own_labels
        Cells of the reference, and their clusters, shape (t,).
    """
    k = 1 + max(int(labels.max(initial=0)), int(own_labels.max(initial=0)))
    size = np.bincount(own_labels, minlength=k)
    known, offset = _covariates(own), np.zeros(k)
    for _ in range(3):
        line = np.linalg.lstsq(known, own.ratio - offset[own_labels], rcond=None)[0]
        left = own.ratio - known @ line
        offset = np.bincount(own_labels, left, minlength=k) / (size + _CLUSTER)
    away = np.abs(left - offset[own_labels])
    spread = np.linalg.lstsq(known, away, rcond=None)[0]
    least = away.mean() / 2 + _EPSILON
    relative = away / np.maximum(known @ spread, least)
    scale = (np.bincount(own_labels, relative, minlength=k) + _CLUSTER) / (size + _CLUSTER)

    def standardised(cells: Scored, of: np.ndarray) -> np.ndarray:
        known = _covariates(cells)
        usual = np.maximum(known @ spread, least) * scale[of]
        return (cells.ratio - known @ line - offset[of]) / usual

    null = np.sort(standardised(own, own_labels))
    new = _without_shift(standardised(found, labels), labels, null)
    return (np.searchsorted(null, new) / len(null)).astype(np.float32)


def _without_shift(new: np.ndarray, labels: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return new values with what all clusters have in common taken away: it is of the batch.

    Parameters
    ----------
    new, labels
        Standardised ratios of new cells, and their clusters, shape (n,).
    null
        Those of the reference's cells, ascending.
    """
    clusters = np.flatnonzero(np.bincount(labels) >= _LEAST)
    if len(clusters) < _FEWEST:
        return new
    middles = [np.median(new[labels == cluster]) for cluster in clusters]
    widths = [_width(new[labels == cluster]) for cluster in clusters]
    middle, usual = np.median(middles), np.median(null)
    wider = max(1.0, np.median(widths) / max(_width(null), _EPSILON))
    return usual + (new - max(middle, usual)) / wider


def _width(values: np.ndarray) -> float:
    """Return the median distance from the median."""
    return float(np.median(np.abs(values - np.median(values))))


def _covariates(cells: Scored) -> np.ndarray:
    """Return what a ratio depends on beside the cluster, n x 3."""
    share = np.clip(cells.share, _SHARE, 1)
    return np.c_[np.ones(len(share)), np.log(cells.counts), np.log(share)]
