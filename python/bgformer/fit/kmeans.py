"""Anchors set from data: k-means centres, the same on any number of threads."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits


def kmeans_centres(
    points: np.ndarray, n_centres: int, seed: int, max_iter: int = 30
) -> np.ndarray:
    """Return the centres of a k-means of `points` (n x d), float32 of shape (n_centres, d).

    The first centres are drawn far from those that are there (k-means++), so that a rare type has
    one. One thread, because the order of a parallel sum would change the last digits and with
    them, some steps later, the clusters.
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Cells that are alike to the last digit leave some centres alike: that does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # one trial for each: with hundreds of centres, sklearn's choice among eight gains nothing
        start = kmeans_plusplus(points, n_centres, random_state=seed, n_local_trials=1)[0]
        fitted = KMeans(n_centres, init=start, n_init=1, max_iter=max_iter).fit(points)
    return fitted.cluster_centers_.astype(np.float32)
