"""Tests of every gene in each cluster against all other cells, and the order of the genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import betainc
from scipy.stats import false_discovery_control, ttest_ind_from_stats

if TYPE_CHECKING:
    from bgformer.data.moments import HeldOut, Moments

_LEAST = 1e-9
"""Smallest share to divide by."""
_MOST = float(np.finfo(np.float32).max)
"""The t of a gene that varies in neither group, so that it is finite wherever it is stored."""
_FEWEST_HELD_OUT = 2
"""With fewer held-out cells than this, in or outside a cluster, it is not tested."""


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
        Two-sided p-value, of the same test unless others were given, and the same adjusted for
        the number of genes (Benjamini-Hochberg).
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


def tests_of(found: Moments, p: np.ndarray | None) -> Tests:
    """Compare each cluster with all other cells.

    The order is by t times the relative difference of the shares of cells with a count,
    ``(share - share_rest) / max(share, share_rest)``, so that genes which nearly all cells express
    are not on top, however small their p-value. A gene for which the two disagree in sign is
    behind all for which they are positive.

    Parameters
    ----------
    found
        Moments of k clusters, k at least 2. The variance of a single cell must not be nan.
    p
        p-values to report, k x g, such as those of `held_out_p`; None for those of t.
    """
    n = found.n_cells[:, None].astype(float)
    n_rest = n.sum() - n
    # sums over the others, not differences from the sum over all: zeros stay zeros
    others = 1 - np.eye(len(n))
    mean, detected = found.mean, found.detected
    mean_rest = others @ (n * mean) / n_rest
    squares = others @ ((n - 1) * found.variance + n * mean**2)
    variance_rest = np.maximum(squares - n_rest * mean_rest**2, 0) / (n_rest - 1)
    detected_rest = others @ (n * detected) / n_rest
    with np.errstate(divide="ignore", invalid="ignore"):
        t, of_t = ttest_ind_from_stats(
            *(mean, np.sqrt(found.variance), n),
            *(mean_rest, np.sqrt(variance_rest), n_rest),
            False,
        )
        fold = (found.scaled + 1 / n) / ((others @ (n * found.scaled) + 1) / n_rest)
    t = np.nan_to_num(t, nan=0, posinf=_MOST, neginf=-_MOST)
    p = np.where(np.isnan(of_t), 1, of_t) if p is None else p
    most = np.maximum(np.maximum(detected, detected_rest), _LEAST)
    agreement = np.maximum(t * (detected - detected_rest) / most, 0)
    order = np.lexsort((-t, -np.sign(t) * agreement))
    adjusted = false_discovery_control(p, axis=1)
    return Tests(t, np.log2(fold), p, adjusted, mean_rest, detected_rest, order)


def held_out_p(found: HeldOut) -> np.ndarray:
    """Return p-values of each gene in each cluster against all other cells, two-sided, k x g.

    The null hypothesis is that the gene has the same share of all counts in the cluster as in the
    other cells. Given the gene's counts in all cells, those in the cluster are then binomial, with
    the cluster's share of all counts as probability, if counts are Poisson (Przyborowski and
    Wilenski 1940, doi:10.2307/2332612). For counts that vary more, both are first divided by the
    gene's dispersion, as in a quasi-likelihood (McCullagh and Nelder 1989, chapter 9): Pearson's
    statistic within the clusters over its degrees of freedom, and at least 1.

    A t-test on log-normalised counts would not do. Their mean depends on the total counts of a
    cell, so in clusters that differ in these, it finds genes that do not differ.

    Parameters
    ----------
    found
        Held-out counts of the clusters.

    Returns
    -------
    The p-values; 1 for clusters with fewer than two held-out cells, see `without_held_out`.
    """
    share = found.totals[:, None] / max(found.totals.sum(), 1)
    counts, of_all = found.counts, found.counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # sum over cells of (count - rate * total)^2 / (rate * total), with the cluster's rate
        pearson = np.where(counts > 0, found.spread * found.totals[:, None] / counts - counts, 0)
    freedom = ((counts > 0) * np.maximum(found.n_cells - 1, 0)[:, None]).sum(axis=0)
    dispersion = np.maximum(pearson.sum(axis=0) / np.maximum(freedom, 1), 1)
    own, rest = counts / dispersion, (of_all - counts) / dispersion
    is_high = counts > share * of_all
    # of as many counts as found or more, or of as few or fewer; betainc takes no zeros
    tail = np.where(
        is_high,
        betainc(np.maximum(own, _LEAST), rest + 1, share),
        betainc(np.maximum(rest, _LEAST), own + 1, 1 - share),
    )
    p = np.where(of_all > 0, np.minimum(2 * tail, 1), 1)
    p[without_held_out(found.n_cells)] = 1
    return p


def without_held_out(n_cells: np.ndarray) -> np.ndarray:
    """Return which clusters have too few held-out cells for a test, or all of them, shape (k,)."""
    return np.asarray(np.minimum(n_cells, n_cells.sum() - n_cells) < _FEWEST_HELD_OUT)
