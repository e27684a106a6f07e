"""DEC refinement: it moves cells to clusters, and is kept only if the clusters gain support."""

import numpy as np
import pytest
import torch

import bgformer as bgf
from bgformer import counts as cm
from bgformer import refinement
from bgformer.anchors import Placement
from bgformer.devices import one_thread
from bgformer.progress import Progress
from bgformer.training import Objective, Schedule


@pytest.fixture(scope="module")
def fitted(_pbmc700):
    return bgf.BGFormer(max_steps=60, verbose=False).fit(_pbmc700)


@pytest.fixture(scope="module")
def data(fitted, _pbmc700):
    genes = _pbmc700.var_names.get_indexer(fitted.genes_)
    counts = cm.read_counts(_pbmc700)[:, genes]
    return cm.with_size_factors(counts, np.zeros(counts.shape[0], dtype=np.int64))


@pytest.fixture(scope="module")
def before(fitted):
    return {name: value.clone() for name, value in fitted.network_.state_dict().items()}


@pytest.fixture(scope="module")
def refined(fitted, data, before):
    with one_thread():
        return refinement.refine(
            fitted.network_,
            data,
            Placement(fitted.latent_, fitted.anchors_, fitted.weights_),
            fitted.partition_,
            objective=Objective(dec=1.0),
            schedule=Schedule(max_steps=30),
            seed=0,
            progress=Progress(30, verbose=False),
        )


def test_the_network_it_starts_from_is_not_changed(fitted, before, refined):
    for name, value in fitted.network_.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    moved = refined.network.state_dict()
    assert not torch.equal(moved["encoder_out.weight"], before["encoder_out.weight"])


def test_cells_move_towards_the_centres_of_their_clusters(fitted, refined):
    def spread(latent):
        labels = fitted.partition_.labels
        centres = np.stack([latent[labels == k].mean(0) for k in range(labels.max() + 1)])
        return np.square(latent - centres[labels]).sum() / np.square(latent - latent.mean(0)).sum()

    assert spread(refined.placed.latent) < spread(fitted.latent_)


def test_the_verdict_follows_the_support(refined):
    words = refined.report.split()
    before, after = float(words[3]), float(words[5])
    assert words[0] == "DEC"
    assert refined.kept == (after > before)
    assert words[1] == ("kept:" if refined.kept else "discarded:")


def test_support_falls_when_clusters_are_arbitrary(fitted, data):
    placed = Placement(fitted.latent_, fitted.anchors_, fitted.weights_)
    clusters = fitted.partition_.anchor_clusters
    shuffled = np.random.default_rng(0).permutation(clusters)
    with one_thread():
        found = refinement.support(fitted.network_, data, placed, clusters, 0)
        arbitrary = refinement.support(fitted.network_, data, placed, shuffled, 0)
    assert found > arbitrary + 0.2


@pytest.mark.parametrize("kept", [True, False])
def test_a_model_takes_or_leaves_the_refinement_and_says_so(pbmc700, monkeypatch, capsys, kept):
    # Which way the guard decides depends on the data; both ways must work.
    supports = iter([0.5, 0.6 if kept else 0.4])
    monkeypatch.setattr(refinement, "support", lambda *_: next(supports))
    plain = bgf.BGFormer(max_steps=30, verbose=False).fit(pbmc700)
    model = bgf.BGFormer(max_steps=30, objective=Objective(dec=1.0)).fit(pbmc700)
    said = f"DEC {'kept' if kept else 'discarded'}: support 0.500 before"
    assert said in capsys.readouterr().err
    assert np.array_equal(model.latent_, plain.latent_) != kept


def test_the_objective_is_saved_with_the_model(pbmc700, tmp_path):
    model = bgf.BGFormer(max_steps=10, objective=Objective(commitment=0.3), verbose=False)
    model.fit(pbmc700).save(tmp_path / "model")
    assert bgf.BGFormer.load(tmp_path / "model").objective == Objective(commitment=0.3)
