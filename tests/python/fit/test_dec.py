"""DEC refinement: it moves cells to their clusters, in place, if a model is told to."""

import copy

import numpy as np
import pytest
import torch

import bgformer as bgf
from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.fit.dec import refine
from bgformer.fit.embedding import embed, raw_heads
from bgformer.fit.metric import calibrate
from bgformer.fit.schedule import Objective, Schedule
from bgformer.runtime.progress import Progress
from bgformer.runtime.threads import one_thread


@pytest.fixture(scope="module")
def data(model, _pbmc700):
    genes = _pbmc700.var_names.get_indexer(model.genes_)
    counts = checks.read_counts(_pbmc700)[:, genes]
    return with_size_factors(counts, np.zeros(counts.shape[0], dtype=np.int64))


def refined(model, data, dec):
    """A network that was trained on with the clusters of a model, whatever weight they have."""
    network = copy.deepcopy(model.network_)
    with one_thread():
        refine(
            network,
            data,
            model.partition_.labels,
            objective=Objective(dec=dec),
            schedule=Schedule(max_steps=30),
            seed=0,
            progress=Progress(30, verbose=False),
        )
    return network


@pytest.fixture(scope="module")
def with_dec(model, data):
    return refined(model, data, 3.0)


def spread(latent, labels):
    """The share of the variance that is within clusters."""
    centres = np.stack([latent[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    return np.square(latent - centres[labels]).sum() / np.square(latent - latent.mean(0)).sum()


def test_cells_move_towards_the_centres_of_their_clusters(model, data, with_dec):
    def within(network):  # before the metric is set again
        learned = raw_heads(network, data)[1] @ model.network_.learned_map.numpy()
        return spread(learned, model.partition_.labels)

    without = refined(model, data, 0.0)  # trained on all the same
    assert within(with_dec) < 0.85 * within(without)


def test_the_linear_head_stays(model, with_dec):
    for name in ("axes", "log_mean", "log_deviation"):
        assert torch.equal(getattr(with_dec, name), getattr(model.network_, name))
    assert not torch.equal(with_dec.encoder_in, model.network_.encoder_in)


def test_the_metric_fits_the_refined_network(data, with_dec):
    before = embed(with_dec, data)
    again = copy.deepcopy(with_dec)
    calibrate(again, data, seed=0, trained=True)
    np.testing.assert_allclose(embed(again, data), before, atol=1e-4)


def test_a_model_is_refined_only_if_told_to(cells):
    plain, told = (
        bgf.BGFormer(max_steps=10, objective=objective, n_clusters=3, verbose=False).fit(cells)
        for objective in (None, Objective(dec=1.0))
    )
    assert Objective().dec == 0
    assert not np.allclose(plain.latent_, told.latent_)
    np.testing.assert_array_equal(told.predict(cells), told.partition_.labels)
    assert len(np.unique(told.partition_.labels)) == 3


def test_the_objective_is_saved_with_the_model(cells, tmp_path):
    model = bgf.BGFormer(max_steps=5, objective=Objective(commitment=0.3), verbose=False)
    model.fit(cells).save(tmp_path / "model")
    assert bgf.BGFormer.load(tmp_path / "model").objective == Objective(commitment=0.3)
