"""The pass over cells: latent and heads, a block at a time."""

import numpy as np
import pytest

from bgformer.data import checks
from bgformer.data.counts import CountData, with_size_factors
from bgformer.fit.embedding import embed, learned_units, raw_heads
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.network.heads import head_columns
from bgformer.network.network import LEARNED_SCALE
from bgformer.runtime import block_sizes

LATENT = 16
LINEAR, LEARNED = head_columns(LATENT)


@pytest.fixture(scope="module")
def data(_pbmc700):
    counts = checks.read_counts(_pbmc700)[:150]
    return with_size_factors(counts, np.zeros(150, dtype=np.int64))


@pytest.fixture(scope="module")
def network(data):
    made = network_for(data, n_batches=1, n_anchors=20, n_latent=LATENT, seed=0).eval()
    calibrate(made, data, seed=0)
    return made


def test_embedding_in_blocks_is_embedding_at_once(network, data, monkeypatch):
    at_once = embed(network, data)
    assert at_once.shape == (150, LATENT)
    assert at_once.dtype == np.float32
    monkeypatch.setattr(block_sizes, "COUNTS", 64)
    np.testing.assert_allclose(embed(network, data), at_once, rtol=1e-4, atol=1e-4)


def test_the_latent_is_made_of_both_heads(network, data):
    latent, (linear, learned) = embed(network, data), raw_heads(network, data)
    centre, to_units = network.linear_centre.numpy(), network.linear_map.numpy()
    np.testing.assert_allclose(latent[:, LINEAR], (linear - centre) @ to_units, atol=1e-3)
    assert learned.shape == (150, LEARNED.stop - LEARNED.start)
    units = learned_units(network, data)
    np.testing.assert_allclose(latent[:, LEARNED], LEARNED_SCALE * units, atol=1e-5)


def test_genes_that_were_not_measured_have_no_influence(network, data):
    keep = np.arange(data.n_genes) >= 60
    changed = data.counts.tolil()
    changed[:, :60] = 50
    other = CountData(changed.tocsr(), data.size_factors, data.batch, data.median_counts)
    np.testing.assert_array_equal(embed(network, other, keep), embed(network, data, keep))
    assert not np.allclose(embed(network, other), embed(network, data))


def test_embedding_leaves_no_gradient(network, data):
    embed(network, data)
    assert all(parameter.grad is None for parameter in network.parameters())
