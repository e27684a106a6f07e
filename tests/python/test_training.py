"""The training loop: what it learns, repeats, leaves alone and refuses."""

import random

import numpy as np
import pytest
import torch

import bgformer as bgf
from bgformer import counts as cm
from bgformer.devices import one_thread
from bgformer.progress import Progress
from bgformer.training import (
    Objective,
    Schedule,
    embed,
    network_for,
    train,
)


@pytest.fixture(scope="module")
def data(_pbmc700):
    counts = cm.read_counts(_pbmc700)
    totals = np.asarray(counts.sum(1)).ravel()
    size_factors = (totals / np.median(totals)).astype(np.float32)
    return cm.CountData(counts, size_factors, np.zeros(counts.shape[0], dtype=np.int64), 1.0)


@pytest.fixture
def network(data):
    return network_for(data, n_batches=1, n_anchors=30, n_latent=16, seed=0)


def run(network, data, steps=24, **kwargs):
    with one_thread():
        return train(
            network,
            data,
            objective=Objective(),
            schedule=Schedule(max_steps=steps),
            seed=0,
            progress=Progress(steps, verbose=False),
            **kwargs,
        )


def test_the_loss_falls_and_anchors_come_into_use(network, data):
    history = run(network, data)
    np.testing.assert_array_equal(history["step"], np.arange(1, 25))
    assert {"loss", "zinb", "self_supervised", "commitment"} <= set(history)
    assert all(values.shape == (24,) for values in history.values())
    assert history["loss"][-5:].mean() < 0.95 * history["loss"][:5].mean()
    assert history["zinb"][-5:].mean() < history["zinb"][:5].mean()
    assert network.anchors_ready
    # Commitment is a part of the loss from the step on which anchors are in use.
    first = np.isfinite(history["commitment"]).argmax()
    assert 0 < first < 12
    assert np.isfinite(history["commitment"][first:]).all()
    assert not network.training


def test_dec_takes_part_when_there_are_centroids(network, data):
    run(network, data, steps=6)
    centroids = embed(network, data)[:4]
    history = run(network, data, steps=6, centroids=centroids)
    assert np.isfinite(history["dec"]).all()
    assert (history["dec"] >= 0).all()


def test_embedding_in_blocks_is_embedding_at_once(network, data, monkeypatch):
    run(network, data, steps=6)
    at_once = embed(network, data)
    monkeypatch.setattr("bgformer.training.BLOCK", 64)
    np.testing.assert_allclose(embed(network, data), at_once, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_training(network, data):
    with torch.no_grad():
        network.encoder_in.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss became nan at step 1"):
        run(network, data)


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11])
def test_a_fit_of_a_few_steps(cells, steps):
    fitted = bgf.BGFormer(max_steps=steps, verbose=False).fit(cells)
    assert len(fitted.history_["loss"]) == steps
    assert np.isfinite(fitted.latent_).all()


def test_threads_and_generators_of_the_caller_are_left_alone(cells):
    threads = torch.get_num_threads()
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.getstate(), np.random.get_state(), torch.get_rng_state()
    bgf.tl.cluster(cells, max_steps=6, verbose=False)
    bgf.tl.recluster(cells, resolution=1.5)
    assert torch.get_num_threads() == threads
    assert random.getstate() == expected[0]
    np.testing.assert_array_equal(np.random.get_state()[1], expected[1][1])
    assert np.random.get_state()[2] == expected[1][2]
    torch.testing.assert_close(torch.get_rng_state(), expected[2])


def test_threads_of_the_caller_are_left_alone_when_a_fit_fails(cells, monkeypatch):
    def stop(self, step, loss):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(Progress, "update", stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            bgf.tl.cluster(cells, max_steps=6, verbose=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_results_do_not_depend_on_the_callers_generators(cells):
    found = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        found.append(bgf.BGFormer(max_steps=6, verbose=False).fit(cells))
    np.testing.assert_array_equal(found[0].latent_, found[1].latent_)
    np.testing.assert_array_equal(found[0].partition_.labels, found[1].partition_.labels)


def test_another_seed_is_another_run(cells):
    one, two = (bgf.BGFormer(max_steps=6, seed=s, verbose=False).fit(cells) for s in (0, 1))
    assert not np.allclose(one.latent_, two.latent_)
