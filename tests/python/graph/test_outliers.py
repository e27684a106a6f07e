"""How unlike a reference new cells are."""

import numpy as np
import pytest
from scipy import sparse

from bgformer.graph import outliers
from bgformer.graph.outliers import Scored, batch_ratio, compared, log_ratios, scores
from bgformer.graph.thinning import Half

N_GENES = 40
ALONE = sparse.identity(2, format="csr")
"""Two anchors that are not smoothed."""


def cells_of(rates, n, seed):
    """Return two halves of cells at anchor 0 with these rates, and their sums at both anchors."""
    rng = np.random.default_rng(seed)
    nearest = np.zeros(n, dtype=np.int32)
    pair = [
        Half(sparse.csr_matrix(rng.poisson(rates, (n, N_GENES)).astype(np.float32)), None, nearest)
        for _ in range(2)
    ]
    return pair, outliers.pooled(pair, 2)


@pytest.fixture
def rates():
    return np.random.default_rng(0).gamma(1.0, 5.0, N_GENES)


def test_cells_of_another_type_are_better_explained_by_each_other(rates):
    reference = cells_of(rates, 300, 1)[1][0]
    same, own = cells_of(rates, 100, 2)
    other, theirs = cells_of(rates[::-1], 100, 3)
    alike = log_ratios(same, [compared(reference, new, ALONE) for new in own], own=True)
    unlike = log_ratios(other, [compared(reference, new, ALONE) for new in theirs], own=True)
    assert np.quantile(alike[0], 0.95) < np.quantile(unlike[0], 0.05)
    assert np.median(alike[0]) < 0  # their profile is of fewer cells than the reference's


def test_a_cell_is_not_compared_with_itself(rates):
    """A single new cell has none to be like."""
    reference = cells_of(rates, 300, 1)[1][0]
    alone, own = cells_of(rates[::-1], 1, 3)
    profiles = [compared(reference, new, ALONE) for new in own]
    assert abs(log_ratios(alone, profiles, own=True)[0][0]) < 1e-2
    assert log_ratios(alone, profiles, own=False)[0][0] > 1


def test_many_new_cells_count_for_no_more_than_the_reference(rates):
    reference = cells_of(rates, 50, 1)[1][0]
    new = cells_of(rates[::-1], 50, 3)[1][0]
    some = cells_of(rates[::-1], 20, 4)[0]
    once = log_ratios(some, [compared(reference, new, ALONE)] * 2, own=False)
    often = log_ratios(some, [compared(reference, 100 * new, ALONE)] * 2, own=False)
    np.testing.assert_allclose(often[0], once[0], rtol=0.05)


def test_what_differs_in_most_clusters_is_of_the_batch(rates):
    """A gene that is twice as high in all clusters is; one that is so in one cluster is not."""
    reference = np.tile(rates / rates.sum() * 1e4 * 100, (5, 1))
    new = reference.copy()
    new[:, 1] *= 2
    new[0, 5] *= 2
    ratio = batch_ratio(reference, new, np.arange(5), 500)
    assert ratio[1] == pytest.approx(2, rel=0.1)
    assert ratio[5] == pytest.approx(1, rel=0.1)
    assert batch_ratio(reference[:2], new[:2], np.arange(2), 500) is None
    assert batch_ratio(reference, new / 1000, np.arange(5), 500) is None  # too few new cells


def test_scores_are_shares_of_the_reference(rates):
    """Also if clusters differ in what is usual, and ratios grow with the counts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=4000)
    counts = rng.lognormal(6, 0.5, 4000)
    share = rng.uniform(0.1, 1, 4000)
    ratio = rng.normal(size=4000) * (1 + labels) + 3 * labels + np.log(counts) + share
    first, second = np.arange(4000) < 2000, np.arange(4000) >= 2000
    found = scores(
        Scored(ratio[first], counts[first], share[first]), labels[first],
        Scored(ratio[second], counts[second], share[second]), labels[second],
    )  # fmt: skip
    for cluster in (0, 1):
        assert (found[labels[first] == cluster] > 0.9).mean() == pytest.approx(0.1, abs=0.05)
    assert found.min() >= 0
    assert found.max() <= 1


def test_what_all_clusters_have_in_common_is_of_the_batch():
    """A shift of all clusters makes nobody unlike; one of a single cluster does."""
    rng = np.random.default_rng(0)
    own = Scored(rng.normal(size=2000), np.full(2000, 500.0), np.ones(2000))
    own_labels, labels = rng.integers(4, size=2000), np.repeat([0, 1, 2, 3], 100)
    shift = np.full(400, 3.0)
    shift[labels == 2] += 6

    def unlike(some):
        new = Scored(
            rng.normal(size=400)[some] + shift[some], own.counts[:400][some], own.share[some]
        )
        return scores(new, labels[some], own, own_labels) > 0.95

    of_all = unlike(np.arange(400))
    assert of_all[labels != 2].mean() < 0.15
    assert of_all[labels == 2].mean() > 0.9
    assert unlike(np.arange(100)).mean() > 0.8  # of one cluster alone, nobody can tell
