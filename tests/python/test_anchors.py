"""The anchor graph: weights of cells on anchors, and the clusters found from them."""

import functools
import itertools
import random

import numpy as np
import pytest
from scipy import sparse

from bgformer import anchors
from bgformer.anchors import DEFAULT_RESOLUTION, anchor_weights, partition, vote

N_CELLS, N_ANCHORS, GROUPS = 400, 60, 5


@pytest.fixture(scope="module")
def points():
    """Cells and anchors in five groups of unequal size."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(GROUPS, 16))
    share = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    group = np.repeat(np.arange(GROUPS), (share * N_CELLS).astype(int))
    cells = centres[group] + rng.normal(size=(N_CELLS, 16))
    anchor_group = np.arange(N_ANCHORS) % GROUPS
    near = centres[anchor_group] + rng.normal(size=(N_ANCHORS, 16))
    return cells.astype(np.float32), near.astype(np.float32), group


@pytest.fixture(scope="module")
def weights(points):
    return anchor_weights(points[0], points[1])


@pytest.fixture(scope="module")
def parted(weights):
    """`partition` of these weights."""
    return functools.partial(partition, weights)


def test_weights_lie_on_the_nearest_anchors_and_sum_to_one(points, weights):
    cells, near, _ = points
    distance = np.linalg.norm(cells[:, None] - near[None], axis=2)
    assert weights.shape == (N_CELLS, N_ANCHORS)
    np.testing.assert_allclose(np.asarray(weights.sum(1)).ravel(), 1, atol=1e-6)
    for i in range(0, N_CELLS, 37):
        found = weights[i].indices
        nearest = np.argsort(distance[i])[: len(found)]
        assert set(found) == set(nearest)
        # The nearer the anchor, the heavier.
        order = np.argsort(distance[i][found])
        assert (np.diff(weights[i].data[order]) <= 1e-9).all()


@pytest.mark.parametrize("asked", [{"resolution": 1.0}, {"n_clusters": 7}])
def test_a_partition_in_blocks_is_the_partition_at_once(parted, monkeypatch, asked):
    at_once = parted(**asked)
    monkeypatch.setattr(anchors, "BLOCK", 64)
    monkeypatch.setattr(anchors, "_LINK_BLOCK", 150)
    monkeypatch.setattr(anchors, "_LOOK_BLOCK", 10)
    in_blocks = parted(**asked)
    for found, expected in zip(in_blocks, at_once, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_do_not_depend_on_the_unit_or_the_origin(points, weights):
    cells, near, _ = points
    moved = anchor_weights(7 * cells + 3, 7 * near + 3)
    np.testing.assert_allclose(moved.toarray(), weights.toarray(), atol=1e-4)


def test_cells_in_one_direction_are_told_apart_by_their_distance(points):
    near = np.stack([points[1][0], 3 * points[1][0]])
    found = anchor_weights(np.float32(1.1) * near, near).toarray()
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 1])


def test_weights_in_blocks_are_weights_at_once(points, weights, monkeypatch):
    monkeypatch.setattr(anchors, "_WEIGHTS_BLOCK", 64)
    found = anchor_weights(points[0], points[1])
    np.testing.assert_allclose(found.toarray(), weights.toarray(), atol=1e-6)


def test_weights_of_a_cell_that_is_where_all_its_anchors_are(points):
    found = anchor_weights(points[1][:1], np.repeat(points[1][:1], 6, axis=0))
    np.testing.assert_allclose(found.data, 0.2)


def check(found, n_cells=N_CELLS):
    """What must hold of every partition."""
    sizes = np.bincount(found.labels)
    assert len(found.labels) == n_cells
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()  # "0" is the largest
    assert found.anchor_clusters.max() + 1 == len(sizes)
    for share in (found.confidence, found.anchor_support):
        assert ((share >= 0) & (share <= 1)).all()
    return len(sizes)


def test_groups_are_found_and_ordered_by_size(points, parted):
    found = parted()
    assert check(found) == GROUPS
    np.testing.assert_array_equal(found.labels, points[2])
    assert found.confidence.mean() > 0.85


@pytest.mark.parametrize("resolution", [1e-3, 0.1, 0.5, 1, 2, 10, 1e4])
def test_every_resolution_gives_a_whole_partition(resolution, parted):
    found = parted(resolution=resolution)
    check(found)
    assert found.resolution == resolution


def test_a_higher_resolution_does_not_give_fewer_clusters(parted):
    numbers = [check(parted(resolution=r)) for r in (0.01, 1, 5, 50)]
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]


def test_exactly_so_many_clusters_as_asked_for(parted):
    for k in range(1, 46):
        assert check(parted(n_clusters=k)) == k


def test_the_number_of_groups_gives_the_groups(points, parted):
    np.testing.assert_array_equal(parted(n_clusters=GROUPS).labels, points[2])


def test_confidence_is_the_supported_weight_in_the_cluster(weights, parted):
    found = parted(resolution=5)
    dense = weights.toarray()
    for i in range(0, N_CELLS, 29):
        own = found.anchor_clusters == found.labels[i]
        supported = (dense[i] * found.anchor_support)[own].sum()
        assert found.confidence[i] == pytest.approx(supported, abs=1e-6)


def test_a_cell_is_of_the_cluster_that_it_has_most_weight_on(weights, parted):
    found = parted(resolution=5)
    dense = weights.toarray()
    share = [dense[:, found.anchor_clusters == k].sum(axis=1) for k in np.unique(found.labels)]
    own = np.choose(found.labels, share)
    assert (own >= np.max(share, axis=0) - 1e-9).all()


def test_without_support_the_confidence_is_the_share_of_weight(weights, parted):
    found = parted(resolution=5)
    labels, confidence = vote(weights, found.anchor_clusters)
    share = [weights[i, found.anchor_clusters == labels[i]].sum() for i in range(N_CELLS)]
    np.testing.assert_allclose(confidence, share, atol=1e-6)


def test_cells_between_two_clusters_are_less_certain(points):
    cells, near, group = points
    between = (cells[group == 0][:20] + cells[group == 1][:20]) / 2
    found = partition(anchor_weights(np.concatenate([cells, between]), near))
    assert found.confidence[N_CELLS:].mean() < found.confidence[:N_CELLS].mean() - 0.1


@pytest.fixture(scope="module")
def halves():
    """Cells in a group far away and one of two unequal parts: weights, anchors, their parts."""
    rng = np.random.default_rng(0)
    centres = np.zeros((3, 8))
    centres[0, 0], centres[2, 1] = 30, 4.5
    part, anchor_part = np.repeat([0, 1, 2], [150, 120, 60]), np.repeat([0, 1, 2], [15, 12, 6])
    cells, near = (centres[p] + rng.normal(size=(len(p), 8)) for p in (part, anchor_part))
    return anchor_weights(cells, near), anchor_part


@pytest.mark.parametrize("asked", [{"resolution": 0.2}, {"n_clusters": 2}])
def test_anchors_that_part_from_their_cluster_have_less_support(halves, asked):
    weights, part = halves
    found = partition(weights, **asked)
    assert found.labels.max() == 1  # the two parts are one cluster
    far, main, other = (found.anchor_support[part == k].mean() for k in range(3))
    assert other < main
    assert other < far


def test_support_is_the_share_of_resolutions_at_which_an_anchor_stays(halves):
    weights, part = halves
    found = partition(weights, 0.2)
    together = np.zeros(len(part))
    for factor in (0.25, 0.5, 1, 2, 4):
        fine = partition(weights, factor * 0.2).anchor_clusters
        mass = np.asarray(weights.sum(axis=0)).ravel()
        main = [np.bincount(fine, mass * (found.anchor_clusters == k)).argmax() for k in range(2)]
        together += fine == np.array(main)[found.anchor_clusters]
    np.testing.assert_allclose(found.anchor_support, together / 5)


def test_fewer_clusters_than_the_default_are_mergers_of_those(parted):
    default = parted(resolution=DEFAULT_RESOLUTION).anchor_clusters
    found = [parted(n_clusters=k).anchor_clusters for k in range(1, default.max() + 2)]
    np.testing.assert_array_equal(found[-1], default)
    for fewer, more in itertools.pairwise(found):
        assert len(set(zip(fewer, more, strict=True))) == more.max() + 1


def test_a_number_that_was_set_leaves_no_resolution(parted):
    assert np.isnan(parted(n_clusters=3).resolution)


def test_one_cluster_alone_is_certain(parted):
    found = parted(n_clusters=1)
    assert (found.anchor_support == 1).all()
    np.testing.assert_allclose(found.confidence, 1, atol=1e-6)


def test_one_population_is_one_cluster(parted):
    assert check(parted(one_population=True)) == 1


@pytest.mark.parametrize("asked", [{"resolution": 0.8}, {"n_clusters": GROUPS}])
def test_one_population_is_cut_if_asked_for(points, asked, parted):
    found = parted(**asked, one_population=True)
    np.testing.assert_array_equal(found.labels, points[2])


@pytest.mark.parametrize("k", [0, -3, N_ANCHORS + 1, 10_000])
def test_more_clusters_than_anchors_or_fewer_than_one(k, parted):
    message = rf"n_clusters is {k}, but the 400 cells and 60 anchors allow 1 to \d+ clusters"
    with pytest.raises(ValueError, match=message):
        parted(n_clusters=k)


@pytest.mark.parametrize("resolution", [0, -1, float("nan")])
def test_a_resolution_that_is_not_positive(resolution, parted):
    with pytest.raises(ValueError, match=r"resolution is \S+; it must be above 0"):
        parted(resolution=resolution)


def test_the_same_seed_gives_the_same_partition_whatever_the_caller_drew(parted):
    random.seed(1)
    first = parted(resolution=5, seed=3)
    random.seed(2)
    state = random.getstate()
    second = parted(resolution=5, seed=3)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert random.getstate() == state


def test_anchors_that_no_cell_uses_do_no_harm(points, weights):
    wider = sparse.hstack([weights, sparse.csr_matrix((N_CELLS, 3))]).tocsr()
    found = partition(wider)
    assert check(found) == GROUPS
    assert len(found.anchor_clusters) == N_ANCHORS + 3


def test_one_anchor_makes_one_cluster():
    found = partition(sparse.csr_matrix(np.ones((30, 1))))
    assert check(found, 30) == 1
    assert (found.confidence == 1).all()
