"""Assign each cell to the cluster of anchors that has most of its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer.data.counts import row_block
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator


def weight_blocks(weights: Any, size: int) -> Iterator[sparse.csr_matrix]:
    """Yield weights, CSR in memory or a CSR data set on disk, `size` rows at a time.

    Without cells, yield one empty block.
    """
    for start in range(0, max(1, weights.shape[0]), size):
        stop = min(start + size, weights.shape[0])
        in_memory = sparse.issparse(weights)
        yield row_block(weights, start, stop) if in_memory else weights[start:stop]


_TIE = 1e-9
"""Weight added to the cluster of a cell's first anchor, more than rounding errors are."""


def vote(
    weights: sparse.csr_matrix,
    anchor_clusters: np.ndarray,
    anchor_support: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster with most of each cell's weight, and the confidence in it, both (n,).

    If two clusters have the same weight, the cell gets the one of its first anchor, so that the
    numbers of the clusters do not matter.

    The confidence is ``sum_j w_ij s_j [j in the cluster]``, the cell's weights on the anchors of
    the cluster times their support (m,). Without `anchor_support`, the support is 1.
    """
    n, k = weights.shape[0], int(anchor_clusters.max()) + 1
    cell = np.repeat(np.arange(n), np.diff(weights.indptr))
    cluster = anchor_clusters[weights.indices]
    # bincount, because a product of sparse matrices takes ten times as long
    share = np.bincount(cell * k + cluster, weights.data, minlength=n * k).reshape(n, k)
    share = share.astype(np.float64, copy=False)  # of no weights bincount makes integers
    any_weight = np.flatnonzero(np.diff(weights.indptr))
    share[any_weight, cluster[weights.indptr[any_weight]]] += _TIE
    labels = share.argmax(axis=1).astype(np.int32)  # half the memory of int64
    if anchor_support is None:
        return labels, _within_0_and_1(share[np.arange(n), labels])
    supported = weights.data * anchor_support[weights.indices] * (cluster == labels[cell])
    return labels, _within_0_and_1(np.bincount(cell, supported, minlength=n))


def _within_0_and_1(confidence: np.ndarray) -> np.ndarray:
    """Clip rounding errors to the range from 0 to 1."""
    return np.clip(confidence, 0, 1).astype(np.float32)


def vote_in_blocks(
    weights: Any, anchor_clusters: np.ndarray, anchor_support: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Apply `vote` in blocks to weights in memory or on disk (see `communities.partition`)."""
    votes = [
        vote(block, anchor_clusters, anchor_support)
        for block in weight_blocks(weights, block_sizes.WEIGHTS)
    ]
    labels, confidence = zip(*votes, strict=True)
    return np.concatenate(labels), np.concatenate(confidence)
