"""Which clusters are the same, or the heirs, of those of an earlier clustering of the anchors."""

from __future__ import annotations

import numpy as np

_SAME = 0.9
"""Two clusters are the same if at least this share of the cells of either is in both."""


def unchanged(before: np.ndarray, now: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return, for each cluster, the earlier one that has nearly the same cells, or -1; shape (k,).

    Parameters
    ----------
    before, now
        Cluster of each anchor in both clusterings, shape (m,).
    mass
        Sum of the weights of cells on each anchor, shape (m,).
    """
    shared = _shared(before, now, mass)
    together = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    same = shared >= _SAME * np.maximum(together, 1e-300)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def heirs(before: np.ndarray, now: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return, for each cluster, the earlier one whose colour it takes, or -1; shape (k,).

    An earlier cluster has one heir: the cluster with most of its cells. A cluster that is the heir
    of several takes after the one that it has most cells of. Parameters as in `unchanged`.
    """
    shared = _shared(before, now, mass)
    is_heir = shared.argmax(axis=0) == np.arange(len(shared))[:, None]
    of_heirs = np.where(is_heir & (shared > 0), shared, 0)
    return np.where(of_heirs.any(axis=1), of_heirs.argmax(axis=1), -1)


def _shared(before: np.ndarray, now: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the mass that each cluster shares with each earlier one, k x k before."""
    shared = np.zeros((int(now.max()) + 1, int(before.max()) + 1))
    np.add.at(shared, (now, before), mass)
    return shared
