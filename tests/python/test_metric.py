"""The metric of the latent: like cells are one unit apart, whatever batch they are of."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist

from bgformer import counts as cm
from bgformer.metric import calibrate
from bgformer.training import embed, network_for

N_LATENT = 8


@pytest.fixture(scope="module")
def batch(two_types):
    return np.random.default_rng(1).integers(0, 2, two_types.n_obs)


@pytest.fixture(scope="module")
def shifted(two_types, batch):
    """The cells of two types, a fifth of their genes much stronger in one batch."""
    counts = two_types.X.toarray()
    counts[np.ix_(batch == 1, np.arange(two_types.n_vars) % 5 == 3)] += 16
    return sparse.csr_matrix(counts)


def calibrated(counts, batch):
    """Return a network that is not trained, so that its latent is a projection, and the latent."""
    data = cm.with_size_factors(counts, batch)
    network = network_for(data, n_batches=2, n_anchors=20, n_latent=N_LATENT, seed=0)
    calibrate(network.eval(), data, seed=0)
    return network, embed(network, data)


@pytest.fixture(scope="module")
def blind(shifted, batch):
    return calibrated(shifted, np.zeros_like(batch))


@pytest.fixture(scope="module")
def aware(shifted, batch):
    return calibrated(shifted, batch)


def like_cells(latent, group, k=5):
    """Return the differences of mutual nearest neighbours between two groups."""
    one, other = latent[group == 0], latent[group == 1]
    distance = cdist(one, other)
    near = distance <= np.sort(distance, axis=1)[:, [k - 1]]
    near &= distance <= np.sort(distance, axis=0)[[k - 1]]
    rows, columns = near.nonzero()
    return one[rows] - other[columns]


def gap(latent, group):
    """Return the distance between the means of two groups."""
    return np.linalg.norm(latent[group == 0].mean(axis=0) - latent[group == 1].mean(axis=0))


def spread(latent, group):
    """Return the variances of like cells of two groups in the directions of their covariance."""
    difference = like_cells(latent, group)
    return np.linalg.eigvalsh(difference.T @ difference / (2 * len(difference)))


def test_like_cells_are_one_unit_apart_in_every_direction(blind, batch):
    halves = np.random.default_rng(7).permutation(len(batch)) % 2  # not those of the calibration
    found = spread(blind[1], halves)
    assert found.mean() == pytest.approx(1, abs=0.25)
    assert found.max() < 2 * found.min()


def test_like_cells_of_two_batches_are_about_one_unit_apart(aware, blind, batch):
    # The cells of a batch that lie towards the other one are more often mutual neighbours, so that
    # the direction between batches comes out longer than the rest.
    *others, between = spread(aware[1], batch)
    assert np.mean(others) == pytest.approx(1, abs=0.25)
    assert between < 0.7 * spread(blind[1], batch)[-1]


def test_the_latent_is_centred(aware):
    np.testing.assert_allclose(aware[1].mean(axis=0), 0, atol=1e-3)


def test_batches_come_together_and_types_stay_apart(aware, blind, batch, two_types):
    types = two_types.obs["type"].to_numpy()
    assert gap(aware[1], batch) < 0.5 * gap(blind[1], batch)
    assert gap(aware[1], types) > 0.8 * gap(blind[1], types)


def test_a_direction_in_which_like_cells_hardly_differ_is_not_blown_up(two_types):
    data = cm.with_size_factors(two_types.X, np.zeros(two_types.n_obs, dtype=np.int64))
    network = network_for(data, n_batches=1, n_anchors=20, n_latent=N_LATENT, seed=0).eval()
    with torch.no_grad():
        for layer in (network.linear, network.encoder_out):
            layer.weight[0] *= 1e-4
    calibrate(network, data, seed=0)
    latent = embed(network, data)
    assert latent[:, 0].std() < 0.05 * latent[:, 1:].std()


def test_the_unit_of_the_network_is_of_no_matter(two_types):
    data = cm.with_size_factors(two_types.X, np.zeros(two_types.n_obs, dtype=np.int64))
    found = []
    for unit in (1.0, 20.0):
        network = network_for(data, n_batches=1, n_anchors=20, n_latent=N_LATENT, seed=0).eval()
        with torch.no_grad():
            for layer in (network.linear, network.encoder_out):
                layer.weight.mul_(unit)
                layer.bias.mul_(unit)
        calibrate(network, data, seed=0)
        found.append(embed(network, data))
    np.testing.assert_allclose(found[0], found[1], atol=1e-2)


def test_the_same_seed_gives_the_same_metric(aware, shifted, batch):
    np.testing.assert_array_equal(calibrated(shifted, batch)[1], aware[1])
