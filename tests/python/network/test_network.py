"""The network: its two heads, attention of cells to anchors, and the state it is rebuilt from."""

import numpy as np
import pytest
import torch
from scipy import sparse

from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.network import LEARNED_SCALE, NEIGHBOURS, Network, attention
from bgformer.runtime.sparse_rows import SparseRows

GENES, ANCHORS, LATENT, MEDIAN = 30, 17, 16, 25.0
LINEAR, LEARNED = 10, 6
SIZE_FACTORS = torch.linspace(0.5, 2, 40)[:, None]


@pytest.fixture
def network():
    """A network whose every part is set to something."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = Network(
            np.full(GENES, 0.3),
            5.0,
            MEDIAN,
            n_batches=2,
            n_anchors=ANCHORS,
            n_latent=LATENT,
            n_hidden=24,
        )
        for name in ("log_mean", "axes", "batch_offset", "log_profile", "learned_map"):
            getattr(made, name).normal_()
        for name in ("linear_centre", "linear_map", "learned_centre", "anchors", "log_dispersion"):
            getattr(made, name).normal_()
        made.log_deviation.uniform_(0.5, 2)
    return made.eval()


@pytest.fixture
def counts():
    return torch.tensor(
        np.random.default_rng(0).poisson(0.5, size=(40, GENES)), dtype=torch.float32
    )


@pytest.fixture
def among():
    """Cells and anchors of one head."""
    rng = np.random.default_rng(1)
    cells, anchors = rng.normal(size=(9, LEARNED)), rng.normal(size=(ANCHORS, LEARNED))
    return torch.tensor(cells, dtype=torch.float32), torch.tensor(anchors, dtype=torch.float32)


def rows(counts):
    """The counts as the network takes them."""
    return SparseRows.on_device(sparse.csr_matrix(counts.numpy()), torch.device("cpu"))


def latent(network, counts, keep=None):
    return network.latent(*network.heads(rows(counts), SIZE_FACTORS, keep))


def as_matrix(nearest, weights, n_anchors):
    full = torch.zeros(len(weights), n_anchors)
    return full.scatter(1, nearest, weights.detach())


def test_attention_is_a_softmax_of_distances_to_the_nearest_anchors(among):
    cells, anchors = among
    found = as_matrix(*attention(cells, anchors), ANCHORS)
    for i, cell in enumerate(cells.double().numpy()):
        distance = np.linalg.norm(cell - anchors.double().numpy(), axis=1)
        near = np.argsort(distance)[:NEIGHBOURS]
        score = np.exp(-np.square(distance[near]) / (2 * distance[near].mean() ** 2))
        expected = np.zeros(ANCHORS)
        expected[near] = score / score.sum()
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)


def test_attention_is_what_anchor_weights_gives_for_one_head(among):
    cells, anchors = among
    expected = anchor_weights(cells.numpy(), anchors.numpy(), n_heads=1).toarray()
    found = as_matrix(*attention(cells, anchors), ANCHORS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attention_goes_to_all_anchors_if_they_are_few(among):
    nearest, weights = attention(among[0], among[1][:3])
    np.testing.assert_array_equal(np.sort(nearest, axis=1), np.tile(np.arange(3), (9, 1)))
    torch.testing.assert_close(weights.sum(1), torch.ones(9))


def test_attention_of_a_cell_that_is_where_its_anchors_are(among):
    cells = among[0][:1].clone().requires_grad_()
    _, weights = attention(cells, cells.detach().repeat(NEIGHBOURS, 1))
    torch.testing.assert_close(weights, torch.full((1, NEIGHBOURS), 1 / NEIGHBOURS))
    weights.square().sum().backward()
    assert torch.isfinite(cells.grad).all()


def test_attention_moves_no_anchor_but_the_nearest(among):
    cells, anchors = among[0], among[1].clone().requires_grad_()
    nearest, weights = attention(cells[:1], anchors)
    weights[0, 0].backward()
    moved = anchors.grad.abs().sum(1).nonzero().ravel()
    assert set(moved.tolist()) == set(nearest[0].tolist())


def test_the_linear_head_projects_scaled_log_counts(network, counts):
    logs = np.log1p(counts.numpy() / SIZE_FACTORS.numpy() * 1e4 / MEDIAN)
    scaled = ((logs - network.log_mean.numpy()) / network.log_deviation.numpy()).clip(-10, 10)
    linear, _ = network.heads(rows(counts), SIZE_FACTORS)
    np.testing.assert_allclose(linear, scaled @ network.axes.numpy(), rtol=1e-4, atol=1e-4)


def test_the_learned_head_sees_pearson_residuals(network, counts):
    expected = SIZE_FACTORS.numpy() * 0.3
    counts[0, 0] = 100  # further from what is expected than the bound
    residual = (counts.numpy() - expected) / np.sqrt(expected + expected**2 / 100)
    found = network.residuals(rows(counts), SIZE_FACTORS)
    np.testing.assert_allclose(found.dense(), residual.clip(-5, 5), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.encode(found), network.heads(rows(counts), SIZE_FACTORS)[1])


def test_the_latent_is_both_heads_in_units_side_by_side(network, counts):
    linear, learned = network.heads(rows(counts), SIZE_FACTORS)
    both = latent(network, counts)
    assert both.shape == (40, LATENT)
    torch.testing.assert_close(
        both[:, :LINEAR], (linear - network.linear_centre) @ network.linear_map
    )
    torch.testing.assert_close(both[:, LINEAR:], LEARNED_SCALE * network.in_units(learned))


def test_a_cell_does_not_depend_on_the_others_in_its_batch(network, counts):
    together = latent(network, counts)
    cells = zip(counts, SIZE_FACTORS, strict=True)
    alone = [network.latent(*network.heads(rows(row[None]), size[None])) for row, size in cells]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_a_gene_that_was_not_measured_has_no_influence(network, counts):
    keep = torch.ones(GENES, dtype=torch.bool)
    keep[4:9] = False
    changed = counts.clone()
    changed[:, 4:9] += 3
    torch.testing.assert_close(latent(network, counts, keep), latent(network, changed, keep))
    moved = (latent(network, counts) - latent(network, changed)).abs()
    assert moved[:, :LINEAR].max() > 0.1  # while a measured one counts in both heads
    assert moved[:, LINEAR:].max() > 0.1


def test_the_heads_start_as_projections_on_the_axes_they_are_given(network, counts):
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(8, GENES)), rng.normal(size=(5, GENES))
    network.start_from(*axes)
    linear, learned = (part.detach().numpy() for part in network.heads(rows(counts), SIZE_FACTORS))
    scaled = network.standardised(rows(counts), SIZE_FACTORS).dense().numpy()
    np.testing.assert_allclose(linear[:, :8], scaled @ axes[0].T, rtol=1e-3, atol=1e-3)
    assert (linear[:, 8:] == 0).all()
    projected = network.residuals(rows(counts), SIZE_FACTORS).dense().numpy() @ axes[1].T
    for given, found in zip(projected.T, learned.T, strict=False):
        assert np.corrcoef(given, found)[0, 1] > 0.99
    assert learned[:, 5:].std() < 0.05 * learned[:, :5].std()


def test_a_cell_is_reconstructed_from_the_profiles_of_its_anchors(network):
    rng = np.random.default_rng(2)
    query = torch.tensor(rng.normal(size=(2, 40, LEARNED)), dtype=torch.float32)
    batch, genes = torch.arange(40) % 2, torch.tensor([[7, 2, 19], [4, 7, 0]])
    nearest, given = (
        part.view(2, 40, -1) for part in attention(query.flatten(0, 1), network.anchors)
    )
    found = network.reconstruct(nearest, given, SIZE_FACTORS, batch, genes)
    offset = np.exp(network.batch_offset.double().numpy())[batch]
    for view in range(2):
        of_view = query[view].numpy()
        weights = anchor_weights(of_view, network.anchors.detach().numpy(), n_heads=1)
        profile = weights @ np.exp(network.log_profile.double().numpy()).T
        expected = np.log((SIZE_FACTORS.numpy() * profile * offset)[:, genes[view]])
        np.testing.assert_allclose(found.log_mean[view].detach(), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            found.log_dispersion[view, 0], network.log_dispersion[genes[view]]
        )
        torch.testing.assert_close(
            found.dropout_logit[view, 0], network.dropout_logit[genes[view]]
        )


def test_a_network_is_rebuilt_from_its_state(network, counts):
    again = Network.from_state(network.state_dict(), ANCHORS)
    assert not again.training
    assert again.n_anchors == ANCHORS
    torch.testing.assert_close(latent(again, counts), latent(network, counts), rtol=0, atol=0)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
