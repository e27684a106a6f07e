"""The training loop: what it learns, repeats, leaves alone and refuses."""

import random

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import bgformer as bgf
from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.fit import trainer
from bgformer.fit.embedding import embed, learned_units
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.minibatches import Minibatches
from bgformer.fit.schedule import Objective, Schedule
from bgformer.fit.trainer import set_tokens, train
from bgformer.network.anchor_weights import anchor_weights
from bgformer.runtime.progress import Progress
from bgformer.runtime.threads import one_thread

STEPS = 24


@pytest.fixture(scope="module")
def data(_pbmc700):
    counts = checks.read_counts(_pbmc700)
    return with_size_factors(counts, np.zeros(counts.shape[0], dtype=np.int64))


def untrained(data, n_anchors=60, n_latent=16):
    """A network as `BGFormer.fit` starts to train it."""
    network = network_for(data, n_batches=1, n_anchors=n_anchors, n_latent=n_latent, seed=0)
    calibrate(network, data, seed=0)
    set_tokens(network, data, seed=0)
    return network


@pytest.fixture
def network(data):
    return untrained(data)


def run(network, data, steps=STEPS, objective=None, seed=0, learning_rate=3e-4, **kwargs):
    with one_thread():
        return train(
            network,
            data,
            objective=objective or Objective(),
            schedule=Schedule(max_steps=steps, learning_rate=learning_rate),
            seed=seed,
            progress=Progress(steps, verbose=False),
            **kwargs,
        )


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_training_tells_loss_and_terms_of_every_step(network, data):
    history = run(network, data)
    np.testing.assert_array_equal(history["step"], np.arange(1, STEPS + 1))
    assert set(history) == {"step", "loss", "zinb", "self_supervised", "commitment"}
    assert all(np.isfinite(values).all() for values in history.values())
    assert not network.training


def test_commitment_moves_the_anchor_nearest_to_a_cell_and_no_other(network, data):
    cells = next(Minibatches(network, data, 50, 40, seed=0).drawn(1)).cells
    commitment = trainer._terms(network, cells, None)["commitment"]
    (gradient,) = torch.autograd.grad(commitment, network.anchors)
    query = network.in_units(network.encode(cells.residuals))
    nearest = torch.cdist(query, network.anchors).argmin(1)
    assert 1 < len(nearest.unique()) < len(network.anchors)
    assert torch.equal(gradient.any(1).nonzero()[:, 0], nearest.unique())


@pytest.mark.parametrize(
    ("objective", "term"),
    [
        (Objective(), "loss"),
        (Objective(self_supervised=0, commitment=0), "zinb"),
        (Objective(self_supervised=100, commitment=0), "self_supervised"),
        (Objective(self_supervised=0, commitment=100), "commitment"),
    ],
)
def test_training_lowers_what_it_is_told_to(data, objective, term):
    # against the same cells and genes without learning, as some are harder than others
    learnt, before = (
        run(untrained(data, 280, 32), data, 100, objective, learning_rate=rate)[term][-10:]
        for rate in (3e-4, 1e-12)
    )
    assert learnt.mean() < before.mean() - 0.002


def test_the_loss_is_the_weighted_sum_of_its_terms(network, data):
    objective = Objective(self_supervised=2.0, commitment=0.5)
    history = run(network, data, steps=3, objective=objective)
    expected = history["zinb"] + 2 * history["self_supervised"] + 0.5 * history["commitment"]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_training_moves_the_learned_head_and_nothing_of_the_linear_one(network, data):
    before = state(network)
    run(network, data)
    moved = {name for name, value in state(network).items() if not value.equal(before[name])}
    assert moved == {name for name, _ in network.named_parameters()}


def test_tokens_are_placed_among_the_cells(network, data):
    anchors, cells = network.anchors.detach().numpy(), learned_units(network, data)
    assert anchors.shape == (30, cells.shape[1])
    distance = cdist(anchors, cells)
    assert len(np.unique(distance.argmin(axis=0))) == 30
    assert distance.min(axis=1).max() < np.median(cdist(cells, cells))


def test_profiles_are_the_mean_counts_of_the_cells_of_each_token(network, data):
    anchors, cells = network.anchors.detach().numpy(), learned_units(network, data)
    weights = anchor_weights(cells, anchors, n_heads=1).toarray()
    gene_mean = network.gene_mean.double().numpy()
    counts = weights.T @ data.counts.toarray() + 5 * gene_mean
    size = weights.T @ data.size_factors + 5  # with five average cells
    found = np.exp(network.log_profile.double().numpy()).T
    np.testing.assert_allclose(found, counts / size[:, None], rtol=1e-3, atol=1e-6)


def test_dec_takes_part_when_there_are_centroids(network, data):
    centroids = learned_units(network, data)[:4]
    history = run(network, data, steps=6, objective=Objective(dec=0.5), centroids=centroids)
    assert (history["dec"] > 0).all()
    terms = history["zinb"] + 0.3 * history["self_supervised"] + 0.1 * history["commitment"]
    np.testing.assert_allclose(history["loss"], terms + 0.5 * history["dec"], rtol=1e-5)


def test_the_seed_decides_what_is_trained(data):
    found = []
    for seed in (0, 0, 1):
        network = untrained(data)
        run(network, data, steps=6, seed=seed)
        found.append(embed(network, data))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_a_loss_that_is_not_finite_stops_the_training(network, data):
    with torch.no_grad():
        network.encoder_in.fill_(float("nan"))
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
    def stop(self, step):
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
