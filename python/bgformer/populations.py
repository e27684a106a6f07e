"""Is there more than one population? A test for a valley between clusters."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture

from bgformer.counts import MAX_STANDARDISED, log_moments, log_normalised

if TYPE_CHECKING:
    from scipy import sparse

    from bgformer.counts import CountData

ALPHA = 1e-3
"""A valley less likely than this by chance is taken to be there."""
_CELLS = 10_000
_SPLITS = 2
_FEWEST = 5
"""A cluster of fewer cells cannot show a valley."""


def one_population(valley_p: float | None) -> bool:
    """Tell from the answer of `valley`, None where it was not asked, if nothing is to be split."""
    return valley_p is not None and valley_p >= ALPHA


def valley(data: CountData, clusterings: list[np.ndarray], seed: int) -> float:
    """Return how likely the clearest valley between clusters is if there is only one population.

    Any clustering cuts even a single population into pieces, along a direction in which it is
    wide. What it cannot do is to leave a gap there in counts that it has not seen. So each cluster
    is tested twice, against all other cells and against the cluster most like it: one half of the
    counts (see `_halves`) gives the direction, from the mean of the others to its own; the other
    half is looked at in that direction; a mixture of two normals gives both peaks and the lowest
    point between them; and the cells within equal distances of that point and of the lower peak
    are compared by a sign test. The median over splits is taken, and Bonferroni's correction for
    the number of comparisons.

    Parameters
    ----------
    data
        The cells that were clustered, n cells.
    clusterings
        Their clusters, each of shape (n,): the ones found, and coarser ones, whose larger clusters
        show a valley sooner where there are few cells.
    seed
        Seeds the choice of cells, if they are many, and the splits.

    Returns
    -------
    The p-value of the first comparison with one below `ALPHA`, else the smallest; 1 if no two
    clusters have five cells.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_CELLS])
    sample = data.rows(rows)
    splits = []
    for split in range(_SPLITS):
        one, other = _halves(sample, seed + split)
        splits += [_standardised(one, other), _standardised(other, one)]
    comparisons = [
        comparison
        for labels in clusterings
        for comparison in _comparisons(splits[0][0], labels[rows])
    ]
    least = 1.0
    for inside, cells in comparisons:
        found = [_sign_test(_projected(*pair, inside, cells), inside[cells]) for pair in splits]
        least = min(least, len(comparisons) * float(np.median(found)))
        if least < ALPHA:
            break
    return least


def _comparisons(
    expression: sparse.csr_matrix, labels: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which cells are in the cluster, and which take part, of each comparison.

    Only like clusters are compared directly: between unlike ones there is a gap wherever the cells
    in between have a cluster of their own.
    """
    sizes = np.bincount(labels)
    clusters = [c for c in np.argsort(-sizes) if _FEWEST <= sizes[c] <= len(labels) - _FEWEST]
    found = [(labels == c, np.ones(len(labels), dtype=bool)) for c in clusters]
    if len(clusters) < 3:  # the rest is the other cluster
        return found[:1]
    means = np.stack([np.asarray(expression[labels == c].mean(axis=0)).ravel() for c in clusters])
    distance = euclidean_distances(means)
    np.fill_diagonal(distance, np.inf)
    for c, like in zip(clusters, distance.argmin(axis=1), strict=True):
        found.append((labels == c, (labels == c) | (labels == clusters[like])))
    return found


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
    ceiling = mean / scale + MAX_STANDARDISED
    both = []
    for half in (seen, unseen):
        x = log_normalised(half)
        x.data = np.minimum(x.data / scale[x.indices], ceiling[x.indices])
        both.append(x)
    return both[0], both[1]


def _projected(
    seen: sparse.csr_matrix, unseen: sparse.csr_matrix, inside: np.ndarray, cells: np.ndarray
) -> np.ndarray:
    """Return where the cells' unseen half lies along the seen half's difference of means."""
    direction = seen[inside].mean(axis=0) - seen[cells & ~inside].mean(axis=0)
    return unseen[cells] @ np.asarray(direction).ravel()


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
