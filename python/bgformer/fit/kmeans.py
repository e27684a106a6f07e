"""k-means centres that are the same on any number of threads."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from bgformer.runtime.threads import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence


def kmeans_centres(
    points: np.ndarray, n_centres: int, seed: int, max_iter: int = 30
) -> np.ndarray:
    """Return k-means centres of `points` (n x d), float32 of shape (n_centres, d)."""
    return kmeans_of_each([(points, n_centres)], seed, max_iter)[0]


def kmeans_of_each(
    sets: Sequence[tuple[np.ndarray, int]], seed: int, max_iter: int = 30
) -> list[np.ndarray]:
    """Return the k-means centres of several sets of points, given each with its number of them."""
    # around all threads, because the filters of warnings belong to the process
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A few identical cells can give identical centres, which do no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return at_once(lambda given: _shared_centres(*given, seed, max_iter), sets)


def _shared_centres(points: np.ndarray, n_centres: int, seed: int, max_iter: int) -> np.ndarray:
    """Return k-means centres of points, float32.

    Identical points share as many centres as they are owed by their number, because k-means would
    give them one, and they would then attend to anchors of other cells.
    """
    places, of_points, times = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    copies = times * n_centres // len(points)
    copies[(copies < 2) | (times == 1)] = 0
    alone = copies[of_points.ravel()] == 0
    spare = int(n_centres - copies.sum())
    n_more = spare - int(alone.sum())
    if n_more > 0 and copies.any():  # more centres are left than points
        most = np.argsort(-copies, kind="stable")[: np.count_nonzero(copies)]
        np.add.at(copies, np.resize(most, n_more), 1)
        spare -= n_more
    shared = np.repeat(places, copies, axis=0).astype(np.float32)
    if spare == 0:
        return shared
    return np.concatenate([shared, _centres(points[alone], spare, seed, max_iter)])


def _centres(points: np.ndarray, n_centres: int, seed: int, max_iter: int) -> np.ndarray:
    """Return k-means centres of points, float32.

    k-means++ draws the first centres far from each other, so that rare types get one. k-means runs
    on one thread, because the order of a parallel sum changes the last digits and, through them,
    the clusters.
    """
    # One trial per centre; with hundreds of centres, scikit-learn's eight trials gain nothing.
    # In float64, which it would convert to for every centre.
    wide = points.astype(np.float64)
    _, drawn = kmeans_plusplus(wide, n_centres, random_state=seed, n_local_trials=1)
    fitted = KMeans(n_centres, init=points[drawn], n_init=1, max_iter=max_iter).fit(points)
    return fitted.cluster_centers_.astype(np.float32)
