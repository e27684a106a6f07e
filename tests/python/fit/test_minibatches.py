"""Minibatches: which cells and genes a training step gets."""

import numpy as np
import pytest

from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.fit.initialise import network_for
from bgformer.fit.minibatches import Minibatches
from bgformer.network.seen import residuals
from bgformer.runtime.sparse_rows import SparseRows

SIZE, N_DRAWN = 64, 40


@pytest.fixture(scope="module")
def data(_pbmc700):
    counts = checks.read_counts(_pbmc700)[:150]
    return with_size_factors(counts, np.arange(150) % 2)


@pytest.fixture(scope="module")
def network(data):
    return network_for(data, n_batches=2, n_anchors=20, n_latent=16, seed=0)


@pytest.fixture
def steps(network, data):
    return list(Minibatches(network, data, SIZE, N_DRAWN, seed=0).drawn(5))


def test_each_epoch_sees_each_cell_once(steps):
    seen = np.concatenate([step.rows for step in steps])
    assert len(seen) == 5 * SIZE
    np.testing.assert_array_equal(np.sort(seen[:150]), np.arange(150))
    np.testing.assert_array_equal(np.sort(seen[150:300]), np.arange(150))


def test_each_view_sees_half_of_the_genes_doubled_to_the_scale_of_all(steps, network, data):
    step = steps[0]
    rows = data.rows(step.rows)
    counts = SparseRows.on_device(rows.counts, network.anchors.device)
    sizes = step.cells.size_factors
    whole = residuals(counts, sizes, network.gene_mean, float(network.max_residual)).dense()
    one = step.halves.one
    assert one.sum() == data.n_genes // 2
    views = step.cells.residuals.dense().view(2, SIZE, -1).numpy()
    for view, half in zip(views, (one, ~one), strict=True):
        np.testing.assert_allclose(view, 2 * whole.numpy() * half, rtol=1e-4, atol=1e-4)


def test_each_view_reconstructs_genes_of_the_other_half(steps, data):
    for step in steps:
        one, other = step.halves.drawn
        assert len(one) == len(other) == N_DRAWN // 2
        assert not step.halves.one[one].any()
        assert step.halves.one[other].all()
        expected = data.counts[step.rows].toarray()
        for view, genes in enumerate((one, other)):
            np.testing.assert_array_equal(step.cells.genes[view], genes)
            np.testing.assert_array_equal(step.cells.counts[view], expected[:, genes])


def test_each_step_deals_the_genes_anew(steps):
    assert not np.array_equal(steps[0].halves.one, steps[1].halves.one)


def test_size_factors_and_batches_are_those_of_the_cells(steps, data):
    for step in steps:
        np.testing.assert_array_equal(step.cells.size_factors[:, 0], data.size_factors[step.rows])
        np.testing.assert_array_equal(step.cells.batch, data.batch[step.rows])


def test_a_part_of_a_minibatch_is_that_part_of_the_whole(network, data):
    minibatches = Minibatches(network, data, SIZE, N_DRAWN, seed=0)
    (step,) = minibatches.drawn(1)
    part = minibatches.load(step.rows[:20], step.halves)
    whole = step.cells.residuals.dense().view(2, SIZE, -1)[:, :20]
    np.testing.assert_allclose(part.residuals.dense().view(2, 20, -1), whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(part.counts, step.cells.counts[:, :20])


def test_few_cells_are_one_minibatch_again_and_again(network, data):
    steps = list(Minibatches(network, data.rows(slice(0, 30)), SIZE, N_DRAWN, seed=0).drawn(2))
    for step in steps:
        np.testing.assert_array_equal(np.sort(step.rows), np.arange(30))
