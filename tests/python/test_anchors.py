"""The anchor graph: weights of cells on anchors, and the clusters found from them."""

import random

import numpy as np
import pytest
from scipy import sparse

from bgformer import anchors
from bgformer.anchors import anchor_weights, partition

N_CELLS, N_ANCHORS, GROUPS = 400, 60, 5


@pytest.fixture(scope="module")
def points():
    """Cells and anchors in five groups of unequal size, by direction."""
    rng = np.random.default_rng(0)
    centres = unit_rows(rng.normal(size=(GROUPS, 16)))
    share = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    group = np.repeat(np.arange(GROUPS), (share * N_CELLS).astype(int))
    cells = centres[group] + 0.08 * rng.normal(size=(N_CELLS, 16))
    cells *= rng.uniform(0.5, 3, size=(N_CELLS, 1))  # the length says nothing
    anchor_group = np.arange(N_ANCHORS) % GROUPS
    near = unit_rows(centres[anchor_group] + 0.08 * rng.normal(size=(N_ANCHORS, 16)))
    return cells.astype(np.float32), near.astype(np.float32), group


@pytest.fixture(scope="module")
def weights(points):
    return anchor_weights(points[0], points[1])


def test_weights_lie_on_the_nearest_anchors_and_sum_to_one(points, weights):
    cells, near, _ = points
    distance = np.linalg.norm(unit_rows(cells)[:, None] - near[None], axis=2)
    assert weights.shape == (N_CELLS, N_ANCHORS)
    np.testing.assert_allclose(np.asarray(weights.sum(1)).ravel(), 1, atol=1e-6)
    for i in range(0, N_CELLS, 37):
        found = weights[i].indices
        nearest = np.argsort(distance[i])[: len(found)]
        assert set(found) == set(nearest)
        # The nearer the anchor, the heavier.
        order = np.argsort(distance[i][found])
        assert (np.diff(weights[i].data[order]) <= 1e-9).all()


def test_weights_do_not_depend_on_the_length_of_the_latent(points, weights):
    longer = anchor_weights(points[0] * 7, points[1])
    np.testing.assert_allclose(longer.toarray(), weights.toarray(), atol=1e-5)


def test_weights_in_blocks_are_weights_at_once(points, weights, monkeypatch):
    monkeypatch.setattr(anchors, "_BLOCK", 64)
    found = anchor_weights(points[0], points[1])
    np.testing.assert_allclose(found.toarray(), weights.toarray(), atol=1e-6)


def test_weights_of_a_cell_without_direction_are_finite(points):
    found = anchor_weights(np.zeros((3, 16), dtype=np.float32), points[1])
    assert np.isfinite(found.data).all()


def check(found, n_cells=N_CELLS):
    """What must hold of every partition."""
    sizes = np.bincount(found.labels)
    assert len(found.labels) == n_cells
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()  # "0" is the largest
    assert found.anchor_clusters.max() + 1 == len(sizes)
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert np.isfinite(found.confidence).all()
    return len(sizes)


def test_groups_are_found_and_ordered_by_size(points, weights):
    found = partition(weights)
    assert check(found) == GROUPS
    np.testing.assert_array_equal(found.labels, points[2])
    assert found.confidence.mean() > 0.95


@pytest.mark.parametrize("resolution", [1e-3, 0.1, 0.5, 1, 2, 10, 1e4])
def test_every_resolution_gives_a_whole_partition(weights, resolution):
    found = partition(weights, resolution=resolution)
    check(found)
    assert found.resolution == resolution


def test_a_higher_resolution_does_not_give_fewer_clusters(weights):
    numbers = [check(partition(weights, resolution=r)) for r in (0.01, 1, 5, 50)]
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]


def test_exactly_so_many_clusters_as_asked_for(weights):
    for k in range(1, 46):
        assert check(partition(weights, n_clusters=k)) == k


def test_the_number_of_groups_gives_the_groups(points, weights):
    np.testing.assert_array_equal(partition(weights, n_clusters=GROUPS).labels, points[2])


def test_confidence_is_the_share_of_weight_in_the_cluster(weights):
    found = partition(weights, resolution=5)
    dense = weights.toarray()
    for i in range(0, N_CELLS, 29):
        own = dense[i, found.anchor_clusters == found.labels[i]].sum()
        assert found.confidence[i] == pytest.approx(own, abs=1e-6)
        for other in np.unique(found.anchor_clusters):
            assert own >= dense[i, found.anchor_clusters == other].sum() - 1e-9


@pytest.mark.parametrize("k", [0, -3, N_ANCHORS + 1, 10_000])
def test_more_clusters_than_anchors_or_fewer_than_one(weights, k):
    message = rf"n_clusters is {k}, but the 400 cells and 60 anchors allow 1 to \d+ clusters"
    with pytest.raises(ValueError, match=message):
        partition(weights, n_clusters=k)


@pytest.mark.parametrize("resolution", [0, -1, float("nan")])
def test_a_resolution_that_is_not_positive(weights, resolution):
    with pytest.raises(ValueError, match=r"resolution is \S+; it must be above 0"):
        partition(weights, resolution=resolution)


def test_the_same_seed_gives_the_same_partition_whatever_the_caller_drew(weights):
    random.seed(1)
    first = partition(weights, resolution=5, seed=3)
    random.seed(2)
    state = random.getstate()
    second = partition(weights, resolution=5, seed=3)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert random.getstate() == state


def test_anchors_that_no_cell_uses_do_no_harm(weights):
    wider = sparse.hstack([weights, sparse.csr_matrix((N_CELLS, 3))]).tocsr()
    found = partition(wider)
    assert check(found) == GROUPS
    assert len(found.anchor_clusters) == N_ANCHORS + 3


def test_one_anchor_makes_one_cluster():
    found = partition(sparse.csr_matrix(np.ones((30, 1))))
    assert check(found, 30) == 1
    assert (found.confidence == 1).all()
