"""Labels of cells carried over to other cells, through the anchors that both have weights on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from bgformer.graph.votes import weight_blocks
from bgformer.runtime import block_sizes

_ROUNDING = 1e-9
"""Weight by which rounding can favour cells without a label."""


def label_shares(weights: sparse.csr_matrix, codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Return the share of each label in the weight that all cells have on each anchor.

    Parameters
    ----------
    weights
        Weights of the cells on the anchors, CSR n x m.
    codes
        Label of each cell, shape (n,), from 0 to `n_labels` - 1; -1 if it has none.
    n_labels
        Number of labels, k.

    Returns
    -------
    m x k float64, rows summing to at most 1; the rest is of cells without a label.
    """
    known = np.flatnonzero(codes >= 0)
    ones = np.ones(len(known))
    member = sparse.csr_matrix((ones, (codes[known], known)), (n_labels, len(codes)))
    mass = (member @ weights).T.toarray().astype(np.float64)
    total = np.asarray(weights.sum(axis=0)).reshape(-1, 1)
    return mass / np.maximum(total, 1e-300)


def vote_for_labels(weights: Any, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label with most of each cell's weight, and its share of that weight, both (n,).

    Parameters
    ----------
    weights
        Weights of the cells, CSR n x m in memory or on disk, rows summing to 1.
    shares
        Result of `label_shares`.

    Returns
    -------
    Labels (int32; -1 for a cell of whose weight most is of cells without a label) and shares
    (float32; 0 without a label).
    """
    labels, confidence = [], []
    for block in weight_blocks(weights, block_sizes.COUNTS * 8):
        found = block @ shares
        best = found.argmax(axis=1)
        share = found[np.arange(len(best)), best]
        has_label = (share > 0) & (share >= 1 - found.sum(axis=1) - _ROUNDING)
        labels.append(np.where(has_label, best, -1).astype(np.int32))
        confidence.append(np.where(has_label, np.clip(share, 0, 1), 0).astype(np.float32))
    return np.concatenate(labels), np.concatenate(confidence)
