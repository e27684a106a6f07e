"""Attention of all cells to their nearest anchors in each head, in numpy: B (n x m, sparse)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bgformer.network.heads import N_HEADS, head_anchors, head_columns
from bgformer.network.network import NEIGHBOURS

_WEIGHTS_BLOCK = 1024
"""Cells whose distances to all anchors are held at once; few, so that they fit in the cache."""


def anchor_weights(
    latent: np.ndarray, anchors: np.ndarray, n_heads: int = N_HEADS
) -> sparse.csr_matrix:
    """Return the weights of cells on their nearest anchors, CSR n x m, rows summing to 1.

    This is `network.network.attention` for all cells. In each head, a weight is a Gaussian of the
    distance. The bandwidth is the cell's mean distance to its nearest anchors. Both heads
    contribute equally.

    Parameters
    ----------
    latent
        Cells, n x d.
    anchors
        Anchors, m x d.
    n_heads
        2, or 1 if `latent` and `anchors` belong to a single head.
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
    """Return the nearest anchors in one head (ascending) and the weights on them, n x k each."""
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
    """Return the k nearest anchors (ascending index) and the weights on them, rows x k each.

    Finding the k minima one after the other takes a quarter of the time of a partial sort.
    """
    rows, nearest = np.arange(len(cells)), np.empty((len(cells), k), dtype=np.int32)
    distance = cells @ -anchors.T  # and below: half the squared distance, less |cell|^2 / 2
    distance += half_square
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


def heaviest(weights: sparse.csr_matrix) -> np.ndarray:
    """Return the anchor on which each cell has most weight, shape (n,)."""
    most = np.maximum.reduceat(weights.data, weights.indptr[:-1]) if weights.nnz else weights.data
    cell = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    at = np.flatnonzero(weights.data == most[cell])
    return weights.indices[at[np.unique(cell[at], return_index=True)[1]]]
