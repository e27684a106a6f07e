"""Cells that stand for all others: some of every anchor, and those far from their anchors."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bgformer.network.anchor_weights import heaviest
from bgformer.network.heads import head_anchors, head_columns

_FAR = 0.1
"""Share of the landmarks that are the cells furthest from their anchors. A type of ten cells among
100,000 has no anchor, and would have no landmark of its own otherwise."""
_HALVINGS = 50
"""Halvings of the share of cells that is drawn of each anchor; enough for a double's digits."""


def choose_landmarks(
    latent: np.ndarray, weights: sparse.csr_matrix, anchors: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """Return the rows of about `number` cells that stand for all, ascending.

    At least one cell of every anchor of the linear head is drawn, and of all of them the same
    share. To these come the cells that are furthest from their anchors.

    Parameters
    ----------
    latent
        Cells, n x d.
    weights
        Weights of the cells on the anchors, CSR n x m.
    anchors
        Anchors, m x d.
    number
        Number of landmarks, below n.
    seed
        Seed of the draw.
    """
    nearest, distance = _nearest(latent, weights, anchors)
    far = np.argsort(-distance, kind="stable")[: int(_FAR * number)]
    drawn = _drawn(nearest, number - len(far), np.random.default_rng(seed))
    return np.union1d(drawn, far)


def _nearest(
    latent: np.ndarray, weights: sparse.csr_matrix, anchors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's anchor in the linear head, and its squared distance to both heads'."""
    distance = np.zeros(len(latent), dtype=np.float32)
    of_linear = None
    heads = zip(head_anchors(len(anchors)), head_columns(latent.shape[1]), strict=True)
    for own, columns in heads:
        if own.stop > own.start:
            nearest = heaviest(sparse.csr_matrix(weights[:, own]))
            apart = latent[:, columns] - anchors[own, columns].astype(np.float32)[nearest]
            distance += np.einsum("cd,cd->c", apart, apart)
            of_linear = nearest if of_linear is None else of_linear
    assert of_linear is not None
    return of_linear, distance


def _drawn(group: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return `number` cells, the same share of all groups, but at least one of each."""
    sizes = np.bincount(group)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        low, high = (low, share) if np.ceil(share * sizes).sum() > number else (share, high)
    order = rng.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    rank = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group[order]]
    return order[rank < np.ceil(low * sizes)[group[order]]]
