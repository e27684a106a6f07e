"""Tests of every gene in each cluster against all other cells, and the order of the genes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, ttest_ind_from_stats

_LEAST = 1e-9
"""Smallest share to divide by."""
_MOST = float(np.finfo(np.float32).max)
"""The t of a gene that varies in neither group, so that it is finite wherever it is stored."""


class Tests(NamedTuple):
    """Tests of g genes in k clusters, each k x g.

    Attributes
    ----------
    t
        Welch's t, finite; 0 if the gene does not vary between any cells.
    log2_fold_change
        Of the mean scaled counts, with one count added on each side, as in Seurat 5:
        ``log2(((sum + 1) / n) / ((sum_rest + 1) / n_rest))``.
    p, p_adjusted
        Two-sided p-value, and the same adjusted for the number of genes (Benjamini-Hochberg).
    mean_rest
        Mean of the log-normalised values of the other cells.
    detected_rest
        Share of the other cells with a count.
    order
        Genes of each cluster as numbers, the best marker first.
    """

    t: np.ndarray
    log2_fold_change: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray
    mean_rest: np.ndarray
    detected_rest: np.ndarray
    order: np.ndarray


def tests_of(
    n_cells: np.ndarray,
    scaled: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    detected: np.ndarray,
) -> Tests:
    """Compare each cluster with all other cells.

    The order is by t times the relative difference of the shares of cells with a count,
    ``(share - share_rest) / max(share, share_rest)``, so that genes which nearly all cells express
    are not on top, however small their p-value. A gene for which the two disagree in sign is
    behind all for which they are positive.

    Parameters
    ----------
    n_cells
        Number of cells of each cluster, shape (k,), at least 2 each and k at least 2.
    scaled
        Mean of the counts, with those of each cell scaled to the same total, k x g.
    mean, variance
        Of log-normalised values, k x g.
    detected
        Share of the cells with a count, k x g.
    """
    n = n_cells[:, None].astype(float)
    n_rest = n.sum() - n
    # sums over the others, not differences from the sum over all: zeros stay zeros
    others = 1 - np.eye(len(n))
    mean_rest = others @ (n * mean) / n_rest
    squares = others @ ((n - 1) * variance + n * mean**2)
    variance_rest = np.maximum(squares - n_rest * mean_rest**2, 0) / (n_rest - 1)
    detected_rest = others @ (n * detected) / n_rest
    with np.errstate(divide="ignore", invalid="ignore"):
        t, p = ttest_ind_from_stats(
            *(mean, np.sqrt(variance), n), *(mean_rest, np.sqrt(variance_rest), n_rest), False
        )
    t = np.nan_to_num(t, nan=0, posinf=_MOST, neginf=-_MOST)
    p = np.where(np.isnan(p), 1, p)
    fold = (scaled + 1 / n) / ((others @ (n * scaled) + 1) / n_rest)
    most = np.maximum(np.maximum(detected, detected_rest), _LEAST)
    agreement = np.maximum(t * (detected - detected_rest) / most, 0)
    order = np.lexsort((-t, -np.sign(t) * agreement))
    adjusted = false_discovery_control(p, axis=1)
    return Tests(t, np.log2(fold), p, adjusted, mean_rest, detected_rest, order)
