"""Sums over the cells of each cluster, from one pass over the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bgformer.data.counts import log_normalised, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL

if TYPE_CHECKING:
    from bgformer.data.source import InMemory, OnDisk


class Moments(NamedTuple):
    """What k clusters have in common in each of g genes.

    Attributes
    ----------
    n_cells
        Number of cells of each cluster, shape (k,).
    scaled
        Mean of the counts, with those of each cell scaled to a total of 10,000, k x g.
    mean, variance
        Of log(1 + scaled counts), k x g; the variance of a single cell is nan.
    detected
        Share of the cells with a count, k x g.
    """

    n_cells: np.ndarray
    scaled: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    detected: np.ndarray


def moments_of(source: InMemory | OnDisk, clusters: np.ndarray, n_clusters: int) -> Moments:
    """Return the moments of clusters.

    Parameters
    ----------
    source
        Counts of n cells x g genes, read once.
    clusters
        Cluster of each cell as a number from 0, shape (n,); each cluster has cells.
    n_clusters
        Number of clusters, k.

    Raises
    ------
    CountsError
        If the counts are on disk and cannot be used; see `source.OnDisk`.
    """
    shape = (n_clusters, source.shape[1])
    scaled, logged, squares, detected = (np.zeros(shape) for _ in range(4))
    for start, counts in source.blocks():
        own = clusters[start : start + counts.shape[0]]
        data = with_size_factors(counts, own, LOG_TOTAL)
        at = own[rows_of_values(counts)] * shape[1] + counts.indices
        logs = log_normalised(data).data.astype(np.float64)
        for sums, values in (
            (scaled, counts.data / np.repeat(data.size_factors, np.diff(counts.indptr))),
            (logged, logs),
            (squares, logs**2),
            (detected, None),
        ):
            sums += np.bincount(at, values, sums.size).reshape(shape)
    n_cells = np.bincount(clusters, minlength=n_clusters)
    n = n_cells[:, None]
    mean = logged / n
    with np.errstate(invalid="ignore"):  # of a single cell
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    return Moments(n_cells, scaled / n, mean, variance, detected / n)
