"""Is there more than one population? A test for a valley between clusters."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from bgformer.counts import log_moments, log_normalised

if TYPE_CHECKING:
    from scipy import sparse

    from bgformer.counts import CountData

ALPHA = 1e-3
"""A valley less likely than this by chance is taken to be there."""
_CELLS = 10_000
_SPLITS = 2
_FEWEST = 5
"""A cluster of fewer cells cannot show a valley."""
_MAX_STANDARDISED = 10.0


def one_population(valley_p: float | None) -> bool:
    """Tell from the answer of `valley`, None where it was not asked, if nothing is to be split."""
    return valley_p is not None and valley_p >= ALPHA


def valley(data: CountData, labels: np.ndarray, seed: int) -> float:
    """Return how likely the clearest valley between clusters is if there is only one population.

    Any clustering cuts even a single population into pieces, along a direction in which it is
    wide. What it cannot do is to leave a gap there in counts that it has not seen. So each cluster
    is tested against all other cells: one half of the counts (see `_halves`) gives the direction,
    from the rest's mean to the cluster's, in which the other half is looked at; a mixture of two
    normals gives the two peaks and the lowest point between them; and the cells within equal
    distances of that point and of the lower peak are compared by a sign test. The median over
    splits is taken, and Bonferroni's correction for the number of clusters.

    Parameters
    ----------
    data
        The cells that were clustered, n cells.
    labels
        Their clusters, shape (n,).
    seed
        Seeds the choice of cells, if they are many, and the splits.

    Returns
    -------
    The p-value of the first cluster, from the largest, with one below `ALPHA`, else the smallest.
    1 if no cluster has five cells and leaves five.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_CELLS])
    sample, labels = data.rows(rows), labels[rows]
    splits = []
    for split in range(_SPLITS):
        one, other = _halves(sample, seed + split)
        splits += [_standardised(one, other), _standardised(other, one)]
    sizes = np.bincount(labels)
    testable = [c for c in np.argsort(-sizes) if _FEWEST <= sizes[c] <= len(labels) - _FEWEST]
    least = 1.0
    for cluster in testable:
        inside = labels == cluster
        found = [_sign_test(_projected(*pair, inside), inside) for pair in splits]
        least = min(least, len(testable) * float(np.median(found)))
        if least < ALPHA:
            break
    return least


def _halves(data: CountData, seed: int) -> tuple[CountData, CountData]:
    """Deal every single count to one of two halves by the toss of a coin.

    If counts are Poisson about a cell's expression, the halves are independent given it (Neufeld
    et al. 2022, doi:10.1093/biostatistics/kxac047): what they share is the cell, what they do not
    share is the noise of counting. Size factors are those of the halves, so that a half is
    normalised to the same scale as the whole.

    Parameters
    ----------
    data
        n cells.
    seed
        Seeds the tosses.

    Returns
    -------
    Two data sets of the same n cells and genes, which add up to `data`.
    """
    rng = np.random.default_rng(seed)
    one, other = data.counts.copy(), data.counts.copy()
    one.data = rng.binomial(data.counts.data.astype(np.int64), 0.5).astype(np.float32)
    other.data -= one.data
    dealt = []
    for half in (one, other):
        half.eliminate_zeros()
        total = np.asarray(half.sum(axis=1), dtype=np.float32).ravel()
        dealt.append(
            replace(
                data,
                counts=half,
                size_factors=np.maximum(total, 0.5) / np.float32(data.median_counts),
            )
        )
    return dealt[0], dealt[1]


def _standardised(
    seen: CountData, unseen: CountData
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return both halves in units of the seen half's deviations; the means are left in."""
    mean, scale = log_moments(seen)
    ceiling = mean / scale + _MAX_STANDARDISED
    both = []
    for half in (seen, unseen):
        x = log_normalised(half)
        x.data = np.minimum(x.data / scale[x.indices], ceiling[x.indices])
        both.append(x)
    return both[0], both[1]


def _projected(
    seen: sparse.csr_matrix, unseen: sparse.csr_matrix, inside: np.ndarray
) -> np.ndarray:
    """Return where the unseen half's cells lie along the seen half's difference of means."""
    direction = seen[inside].mean(axis=0) - seen[~inside].mean(axis=0)
    return unseen @ np.asarray(direction).ravel()


def _sign_test(position: np.ndarray, inside: np.ndarray) -> float:
    """Return the p-value of a valley between two groups of cells on a line."""
    mixture = GaussianMixture(
        2,
        weights_init=[1 - inside.mean(), inside.mean()],
        means_init=[[position[~inside].mean()], [position[inside].mean()]],
        reg_covar=1e-3 * position.var() + 1e-12,
        random_state=0,
    )
    with warnings.catch_warnings():  # cells in one place have no valley, which is an answer too
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(position[:, None])
    low, high = np.sort(mixture.means_.ravel())
    line = np.linspace(low, high, 101)
    lowest = mixture.score_samples(line[:, None]).argmin()
    if lowest in (0, len(line) - 1):
        return 1.0
    reach = (high - low) / 6
    near = [int((np.abs(position - at) <= reach).sum()) for at in (low, high, line[lowest])]
    peak, bottom = min(near[:2]), near[2]
    return float(binom.cdf(bottom, bottom + peak, 0.5))
