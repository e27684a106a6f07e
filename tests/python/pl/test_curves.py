"""The curves over the resolution and over the training steps."""

import numpy as np
import pytest

import bgformer as bgf


def test_resolution_shows_number_and_stability(clustered, unchanged):
    wanted = [0.2, 1, 3]
    with unchanged(clustered):
        axes = bgf.pl.resolution(clustered, wanted)
    assert [axis.get_title() for axis in axes] == ["clusters", "stability"]
    assert {axis.get_xlabel() for axis in axes} == {"resolution"}
    table = bgf.tl.resolutions(clustered, wanted)
    for axis, column in zip(axes, ("n_clusters", "stability"), strict=True):
        curve = axis.get_lines()[0]
        np.testing.assert_array_equal(curve.get_xdata(), wanted)
        np.testing.assert_array_equal(curve.get_ydata(), table[column])


def test_models_trained_anew_have_a_line_of_their_own(clustered):
    number, stability = bgf.pl.resolution(clustered, [0.5, 1], n_fits=1)
    texts = [text.get_text() for text in stability.get_legend().get_texts()]
    assert texts == ["resampled cells", "retrained models"]
    assert len(stability.get_lines()) == len(number.get_lines()) + 1


def test_a_line_is_at_the_resolution_of_the_clusters(clustered):
    bgf.tl.recluster(clustered, resolution=0.7)
    for axis in bgf.pl.resolution(clustered, [0.5, 1]):
        _, line = axis.get_lines()
        assert set(line.get_xdata()) == {0.7}


def test_resolution_of_a_number_that_was_set(clustered, tmp_path):
    bgf.tl.recluster(clustered, n_clusters=3)
    assert len(bgf.pl.resolution(clustered, [0.5, 1], save=tmp_path / "curve.png")) == 2
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_training_shows_the_loss_and_every_term(clustered, model):
    history = clustered.uns["bgformer"]["history"]
    for axes in (bgf.pl.training(clustered), bgf.pl.training(model)):
        titles = [axis.get_title() for axis in axes]
        assert titles[0] == "loss"
        assert {"ZINB", "self-supervised", "commitment"} <= set(titles)
        raw, smooth = axes[0].get_lines()
        np.testing.assert_array_equal(raw.get_xdata(), history["step"])
        np.testing.assert_array_equal(raw.get_ydata(), history["loss"])
        assert len(smooth.get_ydata()) == len(history["step"])
        assert raw.get_alpha() < 0.5


def test_a_smooth_line_is_smoother_and_starts_with_its_term(clustered):
    history = clustered.uns["bgformer"]["history"]
    n = 400
    late = np.where(np.arange(n) < 100, np.nan, 1.0)
    noise = np.random.default_rng(0).normal(size=n)
    clustered.uns["bgformer"]["history"] = {
        "step": np.arange(1, n + 1),
        "loss": 5 + noise,
        "commitment": late,
    }
    loss, commitment = bgf.pl.training(clustered)
    raw, smooth = (line.get_ydata() for line in loss.get_lines())
    assert np.std(smooth) < 0.5 * np.std(raw)
    np.testing.assert_array_equal(np.isnan(commitment.get_lines()[1].get_ydata()), np.isnan(late))
    assert len(history["loss"]) == 30


def test_training_of_a_model_that_is_not_fitted():
    with pytest.raises(ValueError, match="this model is not fitted yet"):
        bgf.pl.training(bgf.BGFormer())
