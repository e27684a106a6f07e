"""Labels of cells carried over to other cells, through the anchors that both have weights on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from bgformer.graph.votes import weight_blocks
from bgformer.runtime import block_sizes


def label_shares(weights: sparse.csr_matrix, codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Return the share of each label in the weight that labelled cells have on each anchor.

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
    m x k float64, rows summing to 1, or to 0 for an anchor without labelled cells.
    """
    known = np.flatnonzero(codes >= 0)
    ones = np.ones(len(known))
    member = sparse.csr_matrix((ones, (codes[known], known)), (n_labels, len(codes)))
    mass = (member @ weights).T.toarray().astype(np.float64)
    return mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300)


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
    Labels (int32; -1 for a cell with weight on anchors without labels alone) and shares (float32).
    """
    labels, confidence = [], []
    for block in weight_blocks(weights, block_sizes.COUNTS * 8):
        found = block @ shares
        best = found.argmax(axis=1)
        share = found[np.arange(len(best)), best]
        labels.append(np.where(share > 0, best, -1).astype(np.int32))
        confidence.append(np.clip(share, 0, 1).astype(np.float32))
    return np.concatenate(labels), np.concatenate(confidence)
