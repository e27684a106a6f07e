"""The graph of the anchors, and its communities: clusters at any resolution or number."""

import functools
import itertools
import random
import time

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from bgformer.graph import anchor_graph
from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.graph.communities import assign, partition
from bgformer.graph.defaults import MIN_CELLS
from bgformer.graph.votes import vote
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import head_anchors
from bgformer.runtime import block_sizes

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


@pytest.mark.parametrize("asked", [{"resolution": 1.0}, {"n_clusters": 7}])
def test_a_partition_in_blocks_is_the_partition_at_once(parted, monkeypatch, asked):
    at_once = parted(**asked)
    monkeypatch.setattr(block_sizes, "WEIGHTS", 64)
    monkeypatch.setattr(block_sizes, "LINKS", 150)
    in_blocks = parted(**asked)
    assert in_blocks.outlier is at_once.outlier is None  # of new cells alone
    for found, expected in zip(in_blocks[:-2], at_once[:-2], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("asked", [{"resolution": 5.0}, {"n_clusters": 7}])
def test_clusters_have_as_many_cells_as_they_must(parted, asked):
    assert np.bincount(parted(**asked, min_cells=15).labels).min() >= 15


def test_a_number_that_needs_small_clusters_is_met(parted):
    assert parted(n_clusters=12, min_cells=N_CELLS // 10).n_clusters == 12


@pytest.mark.parametrize("asked", [{"resolution": 2.0}, {"n_clusters": 9}])
def test_some_cells_of_each_anchor_show_which_clusters_win_any(parted, monkeypatch, asked):
    all_asked = parted(**asked, min_cells=5)
    monkeypatch.setattr(anchor_graph, "_LOOK_AT_ALL", N_CELLS // 3)
    some_asked = parted(**asked, min_cells=5)
    np.testing.assert_array_equal(some_asked.labels, all_asked.labels)


def test_links_at_hand_are_not_computed_again(parted, weights):
    links = anchor_graph.anchor_links(weights)
    assert links.sum() == pytest.approx(N_CELLS)
    with_links = parted(n_clusters=4, links=links)
    np.testing.assert_array_equal(with_links.labels, parted(n_clusters=4).labels)


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
    for k in range(1, 30):
        assert check(parted(n_clusters=k)) == k


def test_the_number_of_groups_gives_the_groups(points, parted):
    np.testing.assert_array_equal(parted(n_clusters=GROUPS).labels, points[2])


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
    return anchor_weights(cells, near, n_heads=1), anchor_part


@pytest.mark.parametrize("asked", [{"resolution": 0.3}, {"n_clusters": 2}])
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
    for factor in (1 / 3, 3**-0.5, 1, 3**0.5, 3):
        fine = partition(weights, factor * 0.2).anchor_clusters
        mass = np.asarray(weights.sum(axis=0)).ravel()
        main = [np.bincount(fine, mass * (found.anchor_clusters == k)).argmax() for k in range(2)]
        together += fine == np.array(main)[found.anchor_clusters]
    np.testing.assert_allclose(found.anchor_support, together / 5)


def test_fewer_clusters_are_mergers_of_more(parted):
    found = [parted(n_clusters=k).anchor_clusters for k in range(1, GROUPS + 1)]
    np.testing.assert_array_equal(found[-1], parted().anchor_clusters)
    for fewer, more in itertools.pairwise(found):
        assert len(set(zip(fewer, more, strict=True))) == more.max() + 1


def test_a_number_that_was_set_leaves_no_resolution(parted):
    assert np.isnan(parted(n_clusters=3).resolution)


def test_one_cluster_alone_is_certain(parted):
    found = parted(n_clusters=1)
    assert (found.anchor_support == 1).all()
    np.testing.assert_allclose(found.confidence, 1, atol=1e-6)


@pytest.fixture(scope="module")
def one_type():
    """Weights of cells of a single type."""
    rng = np.random.default_rng(0)
    return anchor_weights(rng.normal(size=(600, 4)), rng.normal(size=(N_ANCHORS, 4)))


def test_one_type_is_one_cluster(one_type):
    found = partition(one_type)
    assert check(found, 600) == 1
    assert found.n_considered > 1
    np.testing.assert_array_equal(found.nearest, [0])
    assert np.isnan(found.links).all()


@pytest.mark.parametrize("asked", [{"resolution": 1.5}, {"n_clusters": 4}])
def test_one_type_is_cut_if_asked_for(one_type, asked):
    found = partition(one_type, **asked)
    assert check(found, 600) > 1


def test_each_cluster_is_told_its_nearest_and_their_links(parted):
    found = parted(resolution=5)
    graph = AnchorGraph(parted.args[0], 0)
    clusters = found.anchor_clusters
    member = np.eye(found.n_clusters)[clusters]
    between = member.T @ graph.links @ member
    share = between / np.sqrt(np.outer(between.sum(axis=0), between.sum(axis=0)))
    np.fill_diagonal(share, -1)
    np.testing.assert_array_equal(found.nearest, share.argmax(axis=1))
    np.testing.assert_allclose(found.links, share.max(axis=1))


def test_groups_that_are_far_apart_have_few_links_and_halves_of_a_type_many(parted, one_type):
    assert parted().links.max() < 0.1
    assert partition(one_type, n_clusters=2).links.min() > 0.15


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


@pytest.mark.parametrize("asked", [{"n_clusters": GROUPS}, {"n_clusters": 12}, {"resolution": 4}])
def test_clusters_of_some_cells_alone_whatever_anchors_they_leave_unused(points, weights, asked):
    some = weights[points[2] < 2]
    assert (some.sum(axis=0) == 0).sum() > 10  # anchors of the other cells
    check(partition(some, **asked), some.shape[0])


def test_one_anchor_makes_one_cluster():
    found = partition(sparse.csr_matrix(np.ones((30, 1))))
    assert check(found, 30) == 1
    assert (found.confidence == 1).all()


N_IN_RING = 60


@pytest.fixture(scope="module")
def ring():
    """Groups of three anchors in a ring: 12 cells within each group, one between neighbours.

    Modularity merges neighbours of so long a ring (Fortunato and Barthelemy 2007).
    """
    pairs = []
    for group in range(N_IN_RING):
        one, two, three = 3 * group + np.arange(3)
        pairs += 4 * [(one, two), (two, three), (one, three)]
        pairs.append((three, (three + 1) % (3 * N_IN_RING)))
    return weights_of(pairs, 3 * N_IN_RING)


def weights_of(pairs, n_anchors):
    """Cells that attend to two anchors each."""
    cells = np.repeat(np.arange(len(pairs)), 2)
    return sparse.csr_matrix(
        (np.full(len(cells), 0.5), (cells, np.ravel(pairs))), shape=(len(pairs), n_anchors)
    )


def test_islands_that_modularity_merges_stay_apart(ring):
    graph, group = AnchorGraph(ring, 0), np.repeat(np.arange(N_IN_RING), 3)
    merged = graph.leiden(1.0)
    assert merged.max() + 1 < N_IN_RING
    assert adjusted_rand_score(group, graph.communities(1.0)) == 1
    assert check(partition(ring, 1.0), ring.shape[0]) == N_IN_RING


def test_a_community_that_hangs_together_is_not_cut(weights):
    graph = AnchorGraph(weights, 0)
    for resolution in (0.2, 0.8):
        whole = graph.leiden(resolution)
        assert adjusted_rand_score(whole, graph.communities(resolution)) == 1


def test_islands_stay_where_no_cells_link_them():
    pairs = 20 * [(0, 1)] + 20 * [(2, 3)]
    found = AnchorGraph(weights_of(pairs, 4), 0).communities(1e-3)
    assert adjusted_rand_score([0, 0, 1, 1], found) == 1


def test_clusters_of_too_few_cells_join_the_one_that_they_are_linked_to():
    pairs = 40 * [(0, 1)] + 40 * [(2, 3)] + (MIN_CELLS - 3) * [(4, 5)] + 2 * [(3, 4)]
    weights = weights_of(pairs, 6)
    joined = AnchorGraph(weights, 0).communities(1.0)
    assert adjusted_rand_score([0, 0, 1, 1, 1, 1], joined) == 1
    kept = AnchorGraph(weights, 0, min_cells=3).communities(1.0)
    assert adjusted_rand_score([0, 0, 1, 1, 2, 2], kept) == 1


@pytest.mark.parametrize("min_cells", [1, MIN_CELLS, 30, 10_000])
@pytest.mark.parametrize("resolution", [0.8, 5.0])
def test_no_cluster_of_anchors_has_fewer_cells_than_it_must(weights, resolution, min_cells):
    graph = AnchorGraph(weights, 0, min_cells)
    sizes = np.bincount(graph.communities(resolution), graph.mass)
    assert len(sizes) == 1 or sizes.min() >= min_cells


def test_links_are_the_cells_that_two_anchors_share(weights):
    graph, dense = AnchorGraph(weights, 0), weights.toarray()
    links = dense.T @ dense
    np.testing.assert_allclose(graph.mass, dense.sum(axis=0), atol=1e-9)
    np.testing.assert_allclose(graph.links, links - np.diag(np.diag(links)), atol=1e-9)


def test_a_cut_is_near_the_number_asked_for(weights):
    graph = AnchorGraph(weights, 0)
    for asked, expected in ((0.2, 1), (1, 1), (2.4, 2), (5, 5), (12, 12), (1e4, N_ANCHORS)):
        assert len(np.unique(graph.cut(asked))) == expected


def test_clusters_are_numbered_by_the_cells_they_win(weights):
    clusters = np.arange(N_ANCHORS) % GROUPS
    labels, confidence, ranked = assign(weights, clusters, np.ones(N_ANCHORS))
    assert (np.diff(np.bincount(labels)) <= 0).all()
    voted, expected = vote(weights, clusters)
    assert adjusted_rand_score(voted, labels) == 1
    assert adjusted_rand_score(clusters, ranked) == 1
    np.testing.assert_array_equal(confidence, expected)
    np.testing.assert_array_equal(vote(weights, ranked)[0], labels)


@pytest.mark.parametrize("head", [0, 1])
def test_both_heads_have_a_say_in_the_clusters(model, head):
    own = head_anchors(model.weights_.shape[1])[head]
    alone = partition(2 * model.weights_[:, own]).labels
    together = partition(model.weights_).labels
    assert 0.4 < adjusted_rand_score(together, alone) < 0.98


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 13, 21, 34])
def test_real_cells_fall_into_any_number_of_clusters(model, k):
    assert check(partition(model.weights_, n_clusters=k), model.weights_.shape[0]) == k


def test_more_clusters_than_the_default_are_parts_of_those(clustered):
    weights = clustered.obsm["bgformer_anchors"]
    whole = partition(weights, 0.8)
    finer = partition(weights, n_clusters=whole.n_clusters + 3)
    assert finer.n_clusters == whole.n_clusters + 3
    pairs = set(zip(finer.anchor_clusters, whole.anchor_clusters, strict=True))
    assert len(pairs) <= finer.n_clusters + 1  # one may have joined for want of cells of its own


def test_a_few_cells_of_many_are_clustered_without_their_unused_anchors(clustered):
    weights = clustered.obsm["bgformer_anchors"][:40]
    found = partition(weights)
    assert len(found.labels) == 40
    assert found.n_clusters <= 4  # of ten cells each


@pytest.mark.parametrize("k", [2, 8])
def test_a_few_cells_are_quickly_cut_into_any_number(clustered, k):
    weights = clustered.obsm["bgformer_anchors"][:10]
    start = time.process_time()
    assert partition(weights, n_clusters=k).n_clusters == k
    assert time.process_time() - start < 0.7
