"""Cells among the anchors: how many anchors, where they are, weights on them, and votes."""

from typing import NamedTuple

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.fit.embedding import embed
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.graph import anchors
from bgformer.graph.anchors import centres, choose_number
from bgformer.graph.placement import gathered
from bgformer.graph.votes import vote, vote_in_blocks, weight_blocks
from bgformer.network import anchor_weights as anchor_weights_module
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import head_anchors, head_columns
from bgformer.network.network import NEIGHBOURS
from bgformer.runtime import block_sizes


class Placed(NamedTuple):
    latent: np.ndarray
    anchors: np.ndarray
    weights: sparse.csr_matrix


N_CELLS, N_ANCHORS, LATENT = 400, 60, 16
HEADS = list(zip(head_columns(LATENT), head_anchors(N_ANCHORS), strict=True))


@pytest.fixture(scope="module")
def points():
    """Cells and anchors in five groups."""
    rng = np.random.default_rng(0)
    means = 4 * rng.normal(size=(5, LATENT))
    cells = means[np.arange(N_CELLS) % 5] + rng.normal(size=(N_CELLS, LATENT))
    near = means[np.arange(N_ANCHORS) % 5] + rng.normal(size=(N_ANCHORS, LATENT))
    return cells.astype(np.float32), near.astype(np.float32)


@pytest.fixture(scope="module")
def weights(points):
    return anchor_weights(*points)


@pytest.mark.parametrize("columns_and_anchors", HEADS)
def test_each_head_has_half_of_the_weight_on_the_anchors_nearest_in_its_columns(
    points, weights, columns_and_anchors
):
    columns, own = columns_and_anchors
    cells, near = points
    distance = cdist(cells[:, columns], near[own, columns])
    of_head = weights[:, own]
    np.testing.assert_allclose(np.asarray(of_head.sum(axis=1)).ravel(), 0.5, atol=1e-6)
    for i in range(0, N_CELLS, 37):
        found = of_head[i].indices
        assert set(found) == set(np.argsort(distance[i])[:NEIGHBOURS])
        # The nearer the anchor, the heavier.
        order = np.argsort(distance[i][found])
        assert (np.diff(of_head[i].data[order]) <= 1e-9).all()


def test_weights_are_a_gaussian_as_wide_as_the_mean_distance(points):
    cells, near = points
    found = anchor_weights(cells, near, n_heads=1).toarray()
    distance = cdist(cells, near)
    for i in range(0, N_CELLS, 37):
        nearest = np.argsort(distance[i])[:NEIGHBOURS]
        score = np.exp(-(distance[i][nearest] ** 2) / (2 * distance[i][nearest].mean() ** 2))
        expected = np.zeros(N_ANCHORS)
        expected[nearest] = score / score.sum()
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_a_head_does_not_look_at_the_columns_of_the_other(points, weights):
    cells, near = (part.copy() for part in points)
    linear, own = HEADS[0]
    cells[:, linear] *= 3
    near[own] = 0  # and with them the anchors of the linear head
    learned = HEADS[1][1]
    found = anchor_weights(cells, near)
    assert (found[:, learned] != weights[:, learned]).nnz == 0


def test_weights_do_not_depend_on_the_unit_or_the_origin(points, weights):
    cells, near = points
    moved = anchor_weights(7 * cells + 3, 7 * near + 3)
    np.testing.assert_allclose(moved.toarray(), weights.toarray(), atol=1e-4)


def test_the_scale_of_one_head_does_not_change_the_weights(points, weights):
    scale = np.ones(LATENT, dtype=np.float32)
    scale[HEADS[1][0]] = 0.25
    found = anchor_weights(points[0] * scale, points[1] * scale)
    np.testing.assert_allclose(found.toarray(), weights.toarray(), atol=1e-5)


def test_cells_in_one_direction_are_told_apart_by_their_distance(points):
    near = np.stack([points[1][0], 3 * points[1][0]])
    found = anchor_weights(np.float32(1.1) * near, near, n_heads=1).toarray()
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 1])


def test_weights_in_blocks_are_weights_at_once(points, weights, monkeypatch):
    monkeypatch.setattr(anchor_weights_module, "_WEIGHTS_BLOCK", 64)
    np.testing.assert_allclose(anchor_weights(*points).toarray(), weights.toarray(), atol=1e-6)


def test_weights_of_a_cell_that_is_where_all_its_anchors_are(points):
    found = anchor_weights(points[1][:1], np.repeat(points[1][:1], 12, axis=0))
    np.testing.assert_allclose(found.data, 0.5 / NEIGHBOURS)


@pytest.mark.parametrize("n_anchors", [1, 2, 3, 9])
def test_few_anchors_share_all_the_weight(points, n_anchors):
    found = anchor_weights(points[0], points[1][:n_anchors])
    assert found.shape == (N_CELLS, n_anchors)
    np.testing.assert_allclose(np.asarray(found.sum(axis=1)).ravel(), 1, atol=1e-6)


def test_no_cells_have_no_weights(points):
    assert anchor_weights(points[0][:0], points[1]).shape == (0, N_ANCHORS)


@pytest.mark.parametrize(
    ("n_cells", "n_clusters", "expected"),
    [
        (20, "auto", 8),
        (700, "auto", 280),
        (2560, "auto", 1024),
        (10**6, "auto", 1024),
        (700, 100, 400),  # two anchors of each head for every cluster
        (150, 140, 150),
        (10**6, 3, 1024),
    ],
)
def test_auto_chooses_one_anchor_of_each_head_for_five_cells(n_cells, n_clusters, expected):
    assert choose_number(n_cells, "auto", n_clusters) == expected


def test_a_number_of_anchors_that_is_given_is_taken_if_there_are_cells():
    assert choose_number(100, 100, "auto") == 100
    with pytest.raises(ValueError, match="n_anchors is 101, but there are only 100 cells"):
        choose_number(100, 101, "auto")


@pytest.fixture(scope="module")
def data(_pbmc700):
    counts = checks.read_counts(_pbmc700)
    return with_size_factors(counts, np.zeros(counts.shape[0], dtype=np.int64))


@pytest.fixture(scope="module")
def network(data):
    made = network_for(data, n_batches=1, n_anchors=N_ANCHORS, n_latent=LATENT, seed=0).eval()
    calibrate(made, data, seed=0)
    return made


@pytest.fixture(scope="module")
def placed(network, data):
    return put(network, data)


def put(network, data):
    """Set the anchors, and put the cells among them."""
    latent, found = embed(network, data), centres(network, data, seed=0)
    return Placed(latent, found, anchor_weights(latent, found))


@pytest.mark.parametrize("columns_and_anchors", HEADS)
def test_anchors_are_centres_of_the_cells_in_the_columns_of_their_head(
    placed, columns_and_anchors
):
    columns, own = columns_and_anchors
    nearest = cdist(placed.latent[:, columns], placed.anchors[own, columns]).argmin(axis=1)
    assert len(np.unique(nearest)) == own.stop - own.start
    means = np.stack([placed.latent[nearest == j][:, columns].mean(axis=0) for j in range(30)])
    np.testing.assert_allclose(placed.anchors[own, columns], means, atol=0.2)


@pytest.mark.parametrize("head", [0, 1])
def test_in_the_other_columns_anchors_are_among_the_cells_that_attend_to_them(placed, head):
    own, other_columns = HEADS[head][1], HEADS[1 - head][0]
    share = placed.weights[:, own].toarray()
    expected = share.T @ placed.latent[:, other_columns] / share.sum(axis=0)[:, None]
    np.testing.assert_allclose(placed.anchors[own, other_columns], expected, atol=1e-3)


def test_other_seeds_give_other_anchors(network, data, placed):
    assert not np.array_equal(placed.anchors, centres(network, data, seed=1))


def test_anchors_set_from_a_part_of_the_cells(network, data, monkeypatch):
    monkeypatch.setattr(anchors, "_ANCHOR_CELLS", 200)
    found = put(network, data)
    assert found.anchors.shape == (N_ANCHORS, LATENT)
    assert found.weights.shape == (data.n_cells, N_ANCHORS)


def test_equal_weights_are_decided_whatever_the_numbers_of_the_clusters():
    tied = sparse.csr_matrix(np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]))
    clusters = np.array([2, 0, 1, 1])
    renamed = np.array([1, 2, 0])
    labels, _ = vote(tied, clusters)
    assert list(labels) == [2, 0]  # of the first anchor
    np.testing.assert_array_equal(vote(tied, renamed[clusters])[0], renamed[labels])


def test_no_more_anchors_than_the_cells_that_they_are_set_from():
    with pytest.raises(ValueError, match="n_anchors is 20001, but anchors are set from 20000"):
        choose_number(100_000, 20_001, "auto")


def test_blocks_of_rows_are_gathered_in_larger_ones(monkeypatch):
    monkeypatch.setattr(block_sizes, "WEIGHTS", 10)
    rows = np.arange(37 * 2).reshape(37, 2)
    found = list(gathered(np.array_split(rows, 9)))
    assert [len(block) for block in found] == [13, 12, 12]
    np.testing.assert_array_equal(np.concatenate(found), rows)
    assert list(gathered([])) == []


@pytest.fixture(scope="module")
def clusters():
    """Four clusters of the anchors, each with anchors of both heads."""
    return np.arange(N_ANCHORS) % 4


def test_a_cell_is_of_the_cluster_that_it_has_most_weight_on(weights, clusters):
    labels, confidence = vote(weights, clusters)
    share = weights.toarray() @ np.eye(4)[clusters]
    np.testing.assert_array_equal(labels, share.argmax(axis=1))
    np.testing.assert_allclose(confidence, share.max(axis=1), atol=1e-6)


def test_confidence_is_the_supported_weight_in_the_cluster(weights, clusters):
    support = np.random.default_rng(0).random(N_ANCHORS)
    labels, confidence = vote(weights, clusters, support)
    np.testing.assert_array_equal(labels, vote(weights, clusters)[0])
    supported = (weights.toarray() * support) @ np.eye(4)[clusters]
    np.testing.assert_allclose(confidence, supported[np.arange(N_CELLS), labels], atol=1e-6)


def test_a_confidence_is_never_above_one(weights):
    confidence = vote(weights, np.zeros(N_ANCHORS, dtype=int), np.ones(N_ANCHORS))[1]
    assert confidence.max() <= 1
    np.testing.assert_allclose(confidence, 1, atol=1e-6)


def test_votes_in_blocks_are_votes_at_once(weights, clusters, monkeypatch):
    at_once = vote(weights, clusters)
    monkeypatch.setattr(block_sizes, "WEIGHTS", 64)
    for found, expected in zip(vote_in_blocks(weights, clusters), at_once, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_on_disk_come_in_the_same_blocks(weights, tmp_path):
    stored = ad.AnnData(np.zeros((N_CELLS, 1), dtype=np.float32), obsm={"w": weights})
    stored.write_h5ad(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad") as file:
        on_disk = list(weight_blocks(ad.io.sparse_dataset(file["obsm/w"]), 150))
    in_memory = list(weight_blocks(weights, 150))
    assert [block.shape[0] for block in in_memory] == [150, 150, 100]
    for found, expected in zip(on_disk, in_memory, strict=True):
        assert (sparse.csr_matrix(found) != expected).nnz == 0
