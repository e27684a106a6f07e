"""Cells among the anchors: the attention of all cells, and what anchors say of their cells.

Each cell has weights on the anchors of each head that are nearest to it, B (n x m). Clusters are
clusters of anchors (see `communities`), and a cell goes with most of its weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from bgformer.codebook import kmeans_centres
from bgformer.counts import row_block
from bgformer.embedding import embed
from bgformer.heads import N_HEADS, head_anchors, head_columns
from bgformer.network import NEIGHBOURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bgformer.counts import CountData
    from bgformer.network import Network

MAX_ANCHORS = 512
"""Anchors of each head that "auto" chooses for all but the smallest data sets."""
CELLS_PER_ANCHOR = 5
"""With fewer cells per anchor of a head than this, "auto" takes fewer anchors."""
BLOCK = 65_536
_WEIGHTS_BLOCK = 1024
"""Cells whose distances to all anchors are in memory at once: few, to stay near the processor."""
_ANCHOR_CELLS = 20_000
"""Cells that the anchors are set from."""


class Placement(NamedTuple):
    """Where the cells are among the anchors.

    `latent` is n x d float32 and `anchors` m x d float32, both in units of the spread of like
    cells, and `weights` (CSR n x m) the weights of the cells on the anchors.
    """

    latent: np.ndarray
    anchors: np.ndarray
    weights: sparse.csr_matrix


def choose_number(n_cells: int, n_anchors: int | str, n_clusters: int | str) -> int:
    """Return the number of anchors for n cells: the one given, or for "auto" a fitting one.

    Raises
    ------
    ValueError
        If more anchors than cells are asked for.
    """
    if n_anchors != "auto":
        if n_anchors > n_cells:
            raise ValueError(f"n_anchors is {n_anchors}, but there are only {n_cells} cells.")
        return n_anchors
    of_head = max(2, min(MAX_ANCHORS, n_cells // CELLS_PER_ANCHOR))
    if n_clusters != "auto":
        of_head = max(of_head, min(n_cells // N_HEADS, 2 * n_clusters))
    return N_HEADS * of_head


def centres(network: Network, data: CountData, seed: int) -> np.ndarray:
    """Return the anchors, m x n_latent float32: first those of the linear head.

    They are k-means centres of the cells, in the columns of the latent that their head looks at.
    In the other columns stands the weighted mean of the cells that attend to them: attention does
    not look there, but it gives each anchor a place among the cells.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_ANCHOR_CELLS])
    latent = embed(network, data.rows(rows))
    anchors = np.zeros((network.n_anchors, latent.shape[1]), dtype=np.float32)
    for own, columns in zip(
        head_anchors(network.n_anchors), head_columns(latent.shape[1]), strict=True
    ):
        found = kmeans_centres(
            np.ascontiguousarray(latent[:, columns]), own.stop - own.start, seed
        )
        weights = anchor_weights(latent[:, columns], found, n_heads=1)
        total = np.maximum(np.asarray(weights.sum(axis=0)).T, 1e-12)
        anchors[own] = (weights.T @ latent) / total
        anchors[own, columns] = found
    return anchors


def place(network: Network, data: CountData, seed: int) -> Placement:
    """Set the anchors, and put the cells among them."""
    anchors, latent = centres(network, data, seed), embed(network, data)
    return Placement(latent, anchors, anchor_weights(latent, anchors))


def gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield rows that come in blocks in the larger ones that `anchor_weights` works in."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= BLOCK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def anchor_weights(
    latent: np.ndarray, anchors: np.ndarray, n_heads: int = N_HEADS
) -> sparse.csr_matrix:
    """Return the weights of cells on their nearest anchors, CSR n x m, rows summing to 1.

    `network.attention` for all cells: in each head a Gaussian of the distance whose bandwidth is
    the cell's own mean distance to its nearest anchors there. Each head has the same share.

    Parameters
    ----------
    latent
        Cells, n x d.
    anchors
        m x d.
    n_heads
        2, or 1 if `latent` and `anchors` are those of a single head.
    """
    every = [(slice(0, latent.shape[1]), slice(0, len(anchors)))]
    if n_heads == N_HEADS:
        every = list(zip(head_columns(latent.shape[1]), head_anchors(len(anchors)), strict=True))
    nearest, weights = [], []
    for columns, own in every:
        if own.stop > own.start:
            found = _of_head(latent[:, columns], np.ascontiguousarray(anchors[own, columns]))
            nearest.append(found[0] + np.int32(own.start))
            weights.append(found[1])
    weights = [part / len(weights) for part in weights]
    k = sum(part.shape[1] for part in nearest)
    indptr = np.arange(0, len(latent) * k + 1, k)
    return sparse.csr_matrix(
        (np.hstack(weights).ravel(), np.hstack(nearest).ravel(), indptr),
        shape=(len(latent), len(anchors)),
    )


def _of_head(latent: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest anchors of one head (ascending) and the weights on them, n x k each."""
    k = min(NEIGHBOURS, len(anchors))
    half_square = np.square(anchors, dtype=np.float64).sum(axis=1).astype(np.float32) / 2
    blocks = [
        _weights_block(
            np.ascontiguousarray(latent[start : start + _WEIGHTS_BLOCK]), anchors, half_square, k
        )
        for start in range(0, len(latent), _WEIGHTS_BLOCK)
    ]
    if not blocks:
        return np.empty((0, k), dtype=np.int32), np.empty((0, k))
    nearest, weights = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return nearest, weights


def _weights_block(
    cells: np.ndarray, anchors: np.ndarray, half_square: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest anchors (ascending index) and the weights on them, both rows x k.

    The k minima are taken one after the other: a quarter of the time of a partial sort.
    """
    rows, nearest = np.arange(len(cells)), np.empty((len(cells), k), dtype=np.int32)
    distance = half_square - cells @ anchors.T  # halved and without what is the cell's own
    for rank in range(k):
        nearest[:, rank] = distance.argmin(axis=1)
        distance[rows, nearest[:, rank]] = np.inf
    nearest.sort(axis=1)
    apart = cells[:, None] - anchors[nearest]
    square = np.einsum("ckd,ckd->ck", apart, apart).astype(np.float64)
    bandwidth = np.sqrt(square).mean(axis=1, keepdims=True) + 1e-12
    weights = np.exp(-square / (2 * bandwidth**2))
    return nearest, weights / weights.sum(axis=1, keepdims=True)


def weights_from_parts(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n_anchors: int
) -> sparse.csr_matrix:
    """Return stored weights as CSR n x m."""
    return sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_anchors))


def weight_blocks(weights: Any, size: int) -> Iterator[sparse.csr_matrix]:
    """Yield weights, CSR in memory or a CSR data set on disk, `size` rows at a time.

    Of no cells there is one block, which is empty.
    """
    for start in range(0, max(1, weights.shape[0]), size):
        stop = min(start + size, weights.shape[0])
        in_memory = sparse.issparse(weights)
        yield row_block(weights, start, stop) if in_memory else weights[start:stop]


def heaviest(weights: sparse.csr_matrix) -> np.ndarray:
    """Return the anchor that each cell has most weight on, shape (n,)."""
    most = np.maximum.reduceat(weights.data, weights.indptr[:-1]) if weights.nnz else weights.data
    cell = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    at = np.flatnonzero(weights.data == most[cell])
    return weights.indices[at[np.unique(cell[at], return_index=True)[1]]]


def vote(
    weights: sparse.csr_matrix,
    anchor_clusters: np.ndarray,
    anchor_support: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's heaviest cluster and the confidence in it, both (n,).

    The confidence is the cell's weight on the anchors of that cluster, each times its support,
    ``sum_j w_ij s_j [j in the cluster]``; without `anchor_support`, the share of its weight.
    """
    n, k = weights.shape[0], int(anchor_clusters.max()) + 1
    cell = np.repeat(np.arange(n), np.diff(weights.indptr))
    cluster = anchor_clusters[weights.indices]
    # counted and not multiplied: a product of sparse matrices takes ten times as long
    share = np.bincount(cell * k + cluster, weights.data, minlength=n * k).reshape(n, k)
    labels = share.argmax(axis=1).astype(np.int32)  # of many cells: half the memory
    if anchor_support is None:
        return labels, _within_0_and_1(share[np.arange(n), labels])
    supported = weights.data * anchor_support[weights.indices] * (cluster == labels[cell])
    return labels, _within_0_and_1(np.bincount(cell, supported, minlength=n))


def _within_0_and_1(confidence: np.ndarray) -> np.ndarray:
    """Take off what rounding adds."""
    return np.clip(confidence, 0, 1).astype(np.float32)


def vote_in_blocks(
    weights: Any, anchor_clusters: np.ndarray, anchor_support: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `vote` does, for weights in memory or on disk (see `partition`)."""
    votes = [
        vote(block, anchor_clusters, anchor_support) for block in weight_blocks(weights, BLOCK)
    ]
    labels, confidence = zip(*votes, strict=True)
    return np.concatenate(labels), np.concatenate(confidence)
