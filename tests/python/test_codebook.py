"""Anchors during training: set from data, and kept in use."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from bgformer.codebook import Revival, kmeans_centres, set_anchors
from bgformer.network import Network

ANCHORS, LATENT = 6, 8


@pytest.fixture
def network():
    return Network(np.ones(5), 5.0, n_batches=1, n_anchors=ANCHORS, n_latent=LATENT)


@pytest.fixture
def groups():
    """Six groups of 20 cells, each around a direction of its own."""
    rng = np.random.default_rng(0)
    centres = 5 * np.eye(LATENT)[:ANCHORS]
    return torch.tensor(
        np.repeat(centres, 20, axis=0) + 0.1 * rng.normal(size=(120, LATENT)), dtype=torch.float32
    )


def test_anchors_are_set_from_the_cells(network, groups):
    set_anchors(network, groups, seed=0)
    assert network.anchors_ready
    distance = torch.cdist(groups, network.anchors.detach()).min(1).values
    assert distance.max() < 1
    assert network.anchors.requires_grad


def test_centres_do_not_depend_on_numpys_generator(groups):
    points = groups.numpy()
    np.random.seed(1)
    first = kmeans_centres(points, 4, seed=0)
    np.random.seed(2)
    np.testing.assert_array_equal(kmeans_centres(points, 4, seed=0), first)


def test_dead_anchors_move_to_cells_and_forget_their_past(network, groups):
    set_anchors(network, groups, seed=0)
    far = -torch.ones(LATENT)
    with torch.no_grad():
        network.anchors[2:4] = far  # no cell is that way
    optimizer = torch.optim.AdamW([network.anchors], lr=1e-3)
    network.anchors.grad = torch.ones_like(network.anchors)
    optimizer.step()
    alive = network.anchors.detach().clone()
    revival = Revival(network, every=3)
    generator = torch.Generator().manual_seed(0)
    assert [revival.observe(groups, optimizer, generator) for _ in range(2)] == [0, 0]
    torch.testing.assert_close(network.anchors.detach(), alive)
    assert revival.observe(groups, optimizer, generator) == 2
    for dead in (2, 3):
        direction = functional.normalize(groups, dim=1) @ functional.normalize(
            network.anchors.detach()[dead], dim=0
        )
        assert direction.max() > 0.999
    state = optimizer.state[network.anchors]
    for moment in ("exp_avg", "exp_avg_sq"):
        assert state[moment][2:4].abs().max() == 0
        assert state[moment][[0, 1, 4, 5]].abs().min() > 0
    torch.testing.assert_close(network.anchors.detach()[[0, 1, 4, 5]], alive[[0, 1, 4, 5]])


def test_anchors_in_use_stay(network, groups):
    set_anchors(network, groups, seed=0)
    before = network.anchors.detach().clone()
    optimizer = torch.optim.AdamW([network.anchors])
    revival = Revival(network, every=1)
    assert revival.observe(groups, optimizer, torch.Generator().manual_seed(0)) == 0
    torch.testing.assert_close(network.anchors.detach(), before)
