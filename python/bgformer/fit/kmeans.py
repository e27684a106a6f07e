"""k-means centres that are the same on any number of threads."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits


def kmeans_centres(
    points: np.ndarray, n_centres: int, seed: int, max_iter: int = 30
) -> np.ndarray:
    """Return k-means centres of `points` (n x d), float32 of shape (n_centres, d).

    k-means++ draws the first centres far from each other, so that rare types get one. k-means runs
    on one thread, because the order of a parallel sum changes the last digits and, through them,
    the clusters.
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Identical cells give identical centres, which do no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # One trial per centre; with hundreds of centres, scikit-learn's eight trials gain nothing.
        start = kmeans_plusplus(points, n_centres, random_state=seed, n_local_trials=1)[0]
        fitted = KMeans(n_centres, init=start, n_init=1, max_iter=max_iter).fit(points)
    return fitted.cluster_centers_.astype(np.float32)
