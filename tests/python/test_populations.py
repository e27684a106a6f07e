"""The valley between clusters: there between two populations, absent from one."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans

from bgformer import counts as cm
from bgformer.populations import ALPHA, one_population, valley


def as_data(counts):
    matrix = sparse.csr_matrix(counts, dtype=np.float32)
    return cm.with_size_factors(matrix, np.zeros(matrix.shape[0], dtype=np.int64))


@pytest.fixture(scope="module")
def one(one_type):
    return as_data(one_type.X)


@pytest.fixture(scope="module")
def two(two_types):
    return as_data(two_types.X)


@pytest.fixture(scope="module")
def cut(one):
    """One population cut into five along the directions in which it is widest."""
    values = cm.log_normalised(one).toarray()
    return KMeans(5, n_init=1, random_state=0).fit_predict(values)


def test_one_population_has_no_valley(one, cut):
    assert ALPHA <= valley(one, [cut], 0) <= 1


def test_two_populations_have_a_valley(two, two_types):
    assert valley(two, [two_types.obs["type"].to_numpy()], 0) < ALPHA


def test_one_cluster_apart_among_pieces_of_another_is_enough(two, two_types):
    types = two_types.obs["type"].to_numpy()
    assert valley(two, [np.where(types == 0, np.arange(len(types)) % 4, 4)], 0) < ALPHA


def test_one_clustering_with_a_valley_is_enough(one, cut, two, two_types):
    types = two_types.obs["type"].to_numpy()
    dealt = np.random.default_rng(0).permutation(types)
    assert valley(two, [dealt, types], 0) < ALPHA
    assert valley(one, [cut, cut // 2], 0) >= ALPHA


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_a_label_was_made_from_is_no_valley(seed):
    # With more genes than cells any labels part the counts that they are compared in.
    rng = np.random.default_rng(seed)
    data = as_data(rng.poisson(2, size=(100, 1000)))
    assert valley(data, [rng.integers(0, 2, 100)], seed) >= ALPHA


def test_names_of_the_clusters_are_of_no_matter(one, cut, two, two_types):
    for data, labels in ((one, cut), (two, two_types.obs["type"].to_numpy())):
        renamed = (labels.max() - labels).astype(labels.dtype)
        assert valley(data, [renamed], 0) == pytest.approx(valley(data, [labels], 0), rel=1e-6)


def test_labels_dealt_anew_lose_the_valley(two, two_types):
    dealt = np.random.default_rng(0).permutation(two_types.obs["type"].to_numpy())
    assert valley(two, [dealt], 0) >= ALPHA


@pytest.mark.parametrize("n", [1, 2, 4])
def test_too_small_a_cluster_shows_nothing(two, n):
    labels = (np.arange(two.n_cells) < n).astype(int)
    assert valley(two, [labels], 0) == 1
    assert valley(two, [1 - labels], 0) == 1


def test_tiny_clusters_do_not_hide_a_valley(two, two_types):
    labels = two_types.obs["type"].to_numpy().copy()
    labels[:9] = [2, 3, 3, 4, 4, 4, 4, 5, 6]
    assert valley(two, [labels], 0) < ALPHA


def test_cells_that_do_not_differ_have_no_valley():
    same = np.zeros((40, 50))
    same[:, 0] = 1  # one count each, which is on either side of a split
    assert valley(as_data(same), [np.arange(40) % 2], 0) >= ALPHA


def test_the_same_seed_gives_the_same_valley(two, two_types):
    labels = two_types.obs["type"].to_numpy()
    assert valley(two, [labels], 3) == valley(two, [labels], 3)


def test_where_it_was_not_asked_nothing_is_one_population():
    assert not one_population(None)
    assert not one_population(ALPHA / 2)
    assert one_population(ALPHA)
