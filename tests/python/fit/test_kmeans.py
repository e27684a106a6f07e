"""Centres of cells: near them, one for a rare group, the same on any number of threads."""

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from bgformer.fit.kmeans import kmeans_centres, kmeans_of_each
from bgformer.runtime.threads import one_thread

GROUPS, DIMENSIONS = 6, 8


@pytest.fixture(scope="module")
def groups():
    """Five groups of 200 cells and one of 8, each around a centre of its own."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), [200] * (GROUPS - 1) + [8])
    cells = 5 * np.eye(DIMENSIONS)[group] + 0.3 * rng.normal(size=(len(group), DIMENSIONS))
    return cells.astype(np.float32), group


def test_every_group_has_a_centre_even_a_rare_one(groups):
    cells, group = groups
    centres = kmeans_centres(cells, 2 * GROUPS, seed=0)
    assert centres.shape == (2 * GROUPS, DIMENSIONS)
    assert centres.dtype == np.float32
    for one in range(GROUPS):
        assert cdist(centres, cells[group == one]).min() < 1


def test_each_centre_is_the_mean_of_its_cells(groups):
    cells, _ = groups
    centres = kmeans_centres(cells, GROUPS, seed=0, max_iter=100)
    nearest = cdist(cells, centres).argmin(axis=1)
    for i, centre in enumerate(centres):
        np.testing.assert_allclose(centre, cells[nearest == i].mean(axis=0), atol=1e-3)


def test_cells_that_are_all_alike_do_no_harm():
    centres = kmeans_centres(np.ones((30, 3), dtype=np.float32), 4, seed=0)
    np.testing.assert_array_equal(centres, np.ones((4, 3)))


@pytest.mark.parametrize(("times", "n_centres"), [((40, 40), 20), ((60, 20), 15), ((30, 31), 9)])
def test_identical_cells_share_the_centres_by_their_number(times, n_centres):
    places = np.array([[0, 1], [5, 5]], dtype=np.float32)
    centres = kmeans_centres(np.repeat(places, times, axis=0), n_centres, seed=0)
    found, owned = np.unique(centres, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, places)
    np.testing.assert_allclose(owned, n_centres * np.array(times) / sum(times), atol=1)


def test_identical_cells_among_others_have_centres_of_their_own(groups):
    same = np.full((1040, DIMENSIONS), 20, dtype=np.float32)
    centres = kmeans_centres(np.concatenate([groups[0][:1000], same]), 24, seed=0)
    assert centres.shape == (24, DIMENSIONS)
    assert (centres == 20).all(axis=1).sum() == 12
    assert cdist(centres[(centres < 19).all(axis=1)], groups[0]).min(axis=1).max() < 1


def test_centres_do_not_depend_on_numpys_generator(groups):
    np.random.seed(1)
    first = kmeans_centres(groups[0], 4, seed=0)
    np.random.seed(2)
    np.testing.assert_array_equal(kmeans_centres(groups[0], 4, seed=0), first)


def test_the_seed_decides_the_centres(groups):
    cells = groups[0]
    first, same, other = (kmeans_centres(cells, 40, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_centres_do_not_depend_on_the_number_of_threads(groups):
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(limits=n_threads):
            found.append(kmeans_centres(groups[0], 40, seed=0))
    np.testing.assert_array_equal(*found)


def test_filters_of_warnings_are_left_alone_by_threads(groups):
    same = np.ones((30, 3), dtype=np.float32), 4
    filters, n_threads = list(warnings.filters), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            for _ in range(20):
                kmeans_of_each([same, (groups[0], 40)], seed=0)
    finally:
        torch.set_num_threads(n_threads)
    assert warnings.filters == filters
