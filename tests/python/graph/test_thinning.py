"""Counts in two halves."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import binom, chisquare

from bgformer.graph.thinning import half_of


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    return sparse.csr_matrix(rng.poisson(rng.gamma(0.3, 3, 200), (500, 200)).astype(np.float32))


def test_a_half_is_the_same_in_any_order_and_company(counts):
    half = half_of(counts, 3).toarray()
    cells = np.random.default_rng(1).permutation(500)[:300]
    np.testing.assert_array_equal(half_of(counts[cells], 3).toarray(), half[cells])
    mixed = counts.copy()
    for start, stop in zip(mixed.indptr[:-1], mixed.indptr[1:], strict=True):
        for values in (mixed.indices, mixed.data):  # the same cell, stored in another order
            values[start:stop] = values[start:stop][::-1].copy()
    np.testing.assert_array_equal(half_of(mixed, 3).toarray(), half)
    assert (half_of(counts, 4).toarray() != half).mean() > 0.05


@pytest.mark.parametrize("count", [1, 2, 5, 63, 64, 65, 500])
def test_each_count_is_kept_with_a_probability_of_one_half(count):
    n = 20_000
    cells = np.column_stack([np.full(n, count), np.arange(1, n + 1)])  # no two are the same
    kept = half_of(sparse.csr_matrix(cells.astype(np.float32)), 0)[:, 0].toarray().ravel()
    assert kept.min() >= 0
    assert kept.max() <= count
    assert kept.mean() == pytest.approx(count / 2, abs=4 * np.sqrt(count / 4 / n))
    assert kept.var() == pytest.approx(count / 4, rel=0.06)
    if count <= 5:
        seen = np.bincount(kept.astype(int), minlength=count + 1)
        assert chisquare(seen, n * binom.pmf(np.arange(count + 1), count, 0.5)).pvalue > 1e-4


def test_genes_are_divided_independently(counts):
    half = half_of(counts, 0).toarray() - counts.toarray() / 2
    frequent = half[:, np.asarray(counts.mean(axis=0)).ravel() > 2]
    between = np.corrcoef(frequent.T)[np.triu_indices(frequent.shape[1], 1)]
    assert np.abs(between).max() < 0.25
    assert between.mean() == pytest.approx(0, abs=0.01)
