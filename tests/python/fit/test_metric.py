"""The metric of the latent: like cells are one unit apart, whatever batch they are of."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist

from bgformer.data.counts import with_size_factors
from bgformer.fit import metric
from bgformer.fit.embedding import embed
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate, groupings, units

N_LATENT = 12
TYPE_AXES, NOISE_AXES = slice(0, 3), slice(3, 20)


@pytest.fixture(scope="module")
def simulated():
    """A head's output: 800 cells of six types that differ along 3 of 20 axes, and their types."""
    rng = np.random.default_rng(0)
    types = rng.integers(0, 6, 800)
    centres = np.zeros((6, 20))
    centres[:, TYPE_AXES] = 4 * rng.normal(size=(6, 3))
    return centres[types] + rng.normal(size=(800, 20)), types


@pytest.fixture
def whitened(simulated, monkeypatch):
    """The output in units, without the shrink towards what is between types."""
    monkeypatch.setattr(metric, "_LEAST_SHARE", 1)
    return in_units(simulated[0])


def maps(output, batch=None, seed=0):
    batch = np.zeros(len(output), dtype=np.int64) if batch is None else batch
    return units(output, groupings(batch, np.random.default_rng(seed)))


def in_units(output, batch=None, seed=0):
    centre, to_units = maps(output, batch, seed)
    return (output - centre) @ to_units


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


def test_like_cells_are_one_unit_apart_in_every_direction(whitened):
    halves = np.random.default_rng(7).permutation(len(whitened)) % 2  # not those that were used
    found = spread(whitened, halves)
    assert found.mean() == pytest.approx(1, abs=0.25)
    assert found.max() < 2 * found.min()


def test_each_axis_is_shrunk_to_its_share_between_types(simulated, whitened, monkeypatch):
    variance = whitened.var(axis=0, ddof=1)
    share = np.maximum((variance - 1) / variance, 0.01)
    monkeypatch.undo()
    np.testing.assert_allclose(in_units(simulated[0]), whitened * share, atol=1e-6)


def test_an_axis_of_noise_counts_for_less_than_one_with_types(simulated, monkeypatch):
    def lengths():
        each = np.linalg.norm(maps(simulated[0])[1], axis=1)  # of a step along each axis
        return each[NOISE_AXES].mean() / each[TYPE_AXES].mean()

    assert lengths() < 0.8
    monkeypatch.setattr(metric, "_LEAST_SHARE", 1)
    assert lengths() > 0.9


def test_an_axis_on_which_only_batches_differ_is_removed():
    rng = np.random.default_rng(0)
    types, batch = rng.integers(0, 4, 600), rng.integers(0, 2, 600)
    output = rng.normal(size=(600, 6))
    output[:, 0] += 8 * types
    output[:, 1] += 8 * batch
    aware = in_units(output, batch)
    assert gap(aware, batch) < 0.05 * gap(aware, types)
    blind = in_units(output)
    assert gap(blind, batch) > 0.5 * gap(blind, types)


def test_units_are_centred(simulated):
    np.testing.assert_allclose(in_units(simulated[0] + 50).mean(axis=0), 0, atol=1e-6)


def test_the_unit_and_the_rotation_of_the_output_do_not_matter(simulated):
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0]
    one, other = in_units(simulated[0]), in_units(20 * simulated[0] @ rotation)
    some = slice(0, 50)
    np.testing.assert_allclose(
        cdist(one[some], one[some]), cdist(other[some], other[some]), atol=1e-2
    )


def test_a_direction_in_which_like_cells_hardly_differ_is_not_blown_up(simulated):
    output = simulated[0].copy()
    output[:, 10] *= 1e-4
    to_units = maps(output)[1]
    assert output[:, 10].std() * np.linalg.norm(to_units[10]) < 0.05


def test_cells_that_are_all_alike_stay_finite():
    assert np.isfinite(in_units(np.ones((40, 5)))).all()


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
    """Return the latent of a network that is not trained, so that it is a projection."""
    data = with_size_factors(counts, batch)
    network = network_for(data, n_batches=2, n_anchors=20, n_latent=N_LATENT, seed=0)
    calibrate(network.eval(), data, seed=0)
    return embed(network, data)


@pytest.fixture(scope="module")
def blind(shifted, batch):
    return calibrated(shifted, np.zeros_like(batch))


@pytest.fixture(scope="module")
def aware(shifted, batch):
    return calibrated(shifted, batch)


def test_the_latent_is_centred(aware):
    np.testing.assert_allclose(aware.mean(axis=0), 0, atol=1e-3)


def test_batches_come_together_and_types_stay_apart(aware, blind, batch, two_types):
    types = two_types.obs["type"].to_numpy()
    assert gap(aware, batch) < 0.5 * gap(blind, batch)
    assert gap(aware, types) > 0.8 * gap(blind, types)


def test_the_unit_of_the_learned_head_does_not_matter(two_types):
    data = with_size_factors(two_types.X, np.zeros(two_types.n_obs, dtype=np.int64))
    found = []
    for unit in (1.0, 20.0):
        network = network_for(data, n_batches=1, n_anchors=20, n_latent=N_LATENT, seed=0).eval()
        with torch.no_grad():
            width = len(network.learned_centre)
            for part in (
                network.encoder_in[:, :width],
                network.encoder_bias[:width],
                network.encoder_out.weight,
                network.encoder_out.bias,
            ):
                part.mul_(unit)
        calibrate(network, data, seed=0)
        found.append(embed(network, data)[:100])
    np.testing.assert_allclose(cdist(found[0], found[0]), cdist(found[1], found[1]), atol=1e-2)


def test_the_same_seed_gives_the_same_metric(aware, shifted, batch):
    np.testing.assert_array_equal(calibrated(shifted, batch), aware)


@pytest.mark.parametrize("n_groups", [1, 2, 5])
def test_identical_cells_are_a_finite_distance_from_others(n_groups):
    places = np.random.default_rng(0).normal(size=(n_groups, 12))
    latent = in_units(np.repeat(places, 60, axis=0))
    apart = cdist(latent[::60], latent[::60])
    assert apart.max() < 1e5
    assert n_groups == 1 or apart[np.triu_indices(n_groups, 1)].min() > 10
