"""The estimator: settings, prediction of new cells, save and load."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

import bgformer as bgf
from bgformer.fit.schedule import Objective
from bgformer.graph.communities import partition


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("n_clusters", 0, "n_clusters is 0; it must be a whole number of at least 1"),
        ("n_clusters", 2.5, "n_clusters is 2.5; it must be a whole number"),
        ("n_clusters", "many", "n_clusters is 'many'; it must be a whole number or 'auto'"),
        ("n_clusters", None, "n_clusters is None; it must be a whole number"),
        ("n_clusters", True, "n_clusters is True; it must be a whole number"),
        ("n_anchors", -5, "n_anchors is -5; it must be a whole number"),
        ("n_anchors", 1, "n_anchors is 1; it must be a whole number of at least 2"),
        ("n_anchors", "5", "n_anchors is '5'; it must be a whole number or 'auto'"),
        ("resolution", 0, "resolution is 0; it must be a number above 0"),
        ("resolution", -0.5, "resolution is -0.5; it must be a number above 0"),
        ("resolution", float("nan"), "resolution is nan; it must be a number above 0"),
        ("resolution", float("inf"), "resolution is inf; it must be a number above 0"),
        ("resolution", "high", "resolution is 'high'; it must be a number above 0"),
        ("n_top_genes", 0, "n_top_genes is 0; it must be a whole number of at least 1"),
        ("n_latent", 3, "n_latent is 3; it must be a whole number from 4 to 1000"),
        ("max_steps", 0, "max_steps is 0; it must be a whole number from 1 to 1000000"),
        ("max_steps", float("inf"), "max_steps is inf; it must be a whole number"),
        (
            "max_steps",
            10**9,
            "max_steps is 1000000000; it must be a whole number from 1 to",
        ),
        ("n_latent", 100_000, "n_latent is 100000; it must be a whole number from 4 to 1000"),
        ("n_top_genes", 10**400, r"n_top_genes is 10+\.\.\.; it must be a whole number from 1"),
        ("min_cells", 10**400, r"min_cells is 10+\.\.\.; it must be a whole number from 1"),
        ("resolution", 10**400, r"resolution is 10+\.\.\.; it must be a number above 0"),
        ("resolution", True, "resolution is True; it must be a number above 0"),
        ("seed", -1, "seed is -1; it must be a whole number from 0 to 4294967295"),
        ("seed", 2**32, "seed is 4294967296; it must be a whole number from 0"),
        ("seed", 1.5, "seed is 1.5; it must be a whole number"),
    ],
)
def test_a_setting_that_cannot_be_meant(cells, unchanged, setting, value, message):
    with pytest.raises(ValueError, match=message):
        bgf.BGFormer(**{setting: value}).fit(cells)
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, **{setting: value}, verbose=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 151}, "n_clusters is 151, but there are only 150 cells"),
        ({"n_anchors": 151}, "n_anchors is 151, but there are only 150 cells"),
        ({"min_cells": 151}, "min_cells is 151, but there are only 150 cells"),
        ({"n_clusters": 9, "n_anchors": 8}, "n_clusters is 9, but n_anchors is only 8"),
    ],
)
def test_more_than_there_are_cells_or_anchors(cells, unchanged, settings, message):
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, **settings, verbose=False)


@pytest.mark.parametrize("objective", [1, "dec", {"dec": 1}, [], "", np.array([1, 2])])
def test_an_objective_is_one(cells, objective):
    with pytest.raises(ValueError, match=r"^objective is .*; it must be .*fit\.schedule"):
        bgf.BGFormer(objective=objective, max_steps=1).fit(cells)


@pytest.mark.parametrize("weight", [-1, float("nan"), "high", None])
def test_weights_of_the_objective_are_numbers(weight):
    with pytest.raises(ValueError, match=r"^dec is .*; it must be a number of at least 0"):
        Objective(dec=weight)


@pytest.mark.parametrize("argument", ["layer", "batch_key"])
@pytest.mark.parametrize("value", [["counts"], {"counts": 1}, 5])
def test_names_are_strings(cells, model, argument, value):
    message = f"^{argument} is .*; it must be a string or None"
    with pytest.raises(ValueError, match=message):
        bgf.BGFormer(max_steps=1, verbose=False).fit(cells, **{argument: value})
    with pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, max_steps=1, verbose=False, **{argument: value})
    if argument == "layer":
        with pytest.raises(ValueError, match=message):
            model.predict(cells, layer=value)


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_cells_and_genes_have_one_name_each(cells, model, axis):
    names = getattr(cells, axis).index
    getattr(cells, axis).index = pd.MultiIndex.from_arrays([names, names])
    what = {"obs": "cell", "var": "gene"}[axis]
    message = f"the {what} names are a MultiIndex of 2 levels; give each {what} one name"
    with pytest.raises(ValueError, match=message):
        bgf.BGFormer(max_steps=1, verbose=False).fit(cells)
    with pytest.raises(ValueError, match=message):
        model.predict(cells)


def test_so_few_anchors_that_every_cell_attends_to_all_are_warned_of(cells):
    with pytest.warns(UserWarning, match="n_anchors is 8: every cell attends to all anchors"):
        bgf.BGFormer(n_anchors=8, max_steps=2, resolution=1, verbose=False).fit(cells)


def test_numpy_numbers_are_numbers(cells):
    fitted = bgf.BGFormer(
        n_clusters=np.int64(3), max_steps=np.float64(5), seed=np.int32(1), verbose=False
    ).fit(cells)
    assert fitted.partition_.labels.max() == 2


@pytest.mark.parametrize("k", [1, 2, 7, 30])
def test_as_many_clusters_as_asked_for(cells, k):
    fitted = bgf.BGFormer(n_clusters=k, max_steps=5, verbose=False).fit(cells)
    assert len(np.unique(fitted.partition_.labels)) == k


def test_fit_takes_cells_alone():
    with pytest.raises(
        TypeError, match="adata is a ndarray; give an AnnData or the path of a file"
    ):
        bgf.BGFormer(verbose=False).fit(np.ones((30, 5)))


def test_fit_takes_a_path(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    from_file = bgf.BGFormer(max_steps=5, verbose=False).fit(tmp_path / "cells.h5ad")
    from_memory = bgf.BGFormer(max_steps=5, verbose=False).fit(cells)
    np.testing.assert_array_equal(from_file.latent_, from_memory.latent_)


def test_fit_changes_nothing(cells, unchanged):
    with unchanged(cells):
        bgf.BGFormer(max_steps=3, verbose=False).fit(cells)


def test_cells_without_counts_in_the_genes_used_are_reported(cells):
    counts = cells.X.toarray()
    counts[0] = 0
    counts[:, 399] = 0
    counts[0, 399] = 1  # a gene that no other cell has, and that is therefore not used
    cells.X = sparse.csr_matrix(counts)
    name = cells.obs_names[0]
    with pytest.warns(
        UserWarning, match=rf"1 cells have no counts in the \d+ genes used .*'{name}'"
    ):
        fitted = bgf.BGFormer(max_steps=3, verbose=False).fit(cells)
    assert len(fitted.partition_.labels) == 150
    assert np.isfinite(fitted.latent_).all()


def test_predicting_the_training_cells_gives_their_clusters(pbmc700, model):
    np.testing.assert_array_equal(model.predict(pbmc700), model.partition_.labels)
    np.testing.assert_array_equal(model.confidence(pbmc700), model.partition_.confidence)
    np.testing.assert_allclose(model.embed(pbmc700), model.latent_, atol=1e-6)


def test_a_cell_is_predicted_alone_as_among_others(pbmc700, model):
    some = [3, 80, 650]
    alone = np.concatenate([model.predict(pbmc700[[i]].copy()) for i in some])
    np.testing.assert_array_equal(alone, model.partition_.labels[some])


def test_genes_are_matched_by_name(pbmc700, model):
    order = np.random.default_rng(0).permutation(pbmc700.n_vars)
    shuffled = pbmc700[:, order].copy()
    np.testing.assert_array_equal(model.predict(shuffled), model.partition_.labels)


def test_genes_that_seurat_renamed_are_found(pbmc700, cells):
    named = cells.copy()
    named.var_names = "hg19_" + named.var_names
    model = bgf.BGFormer(max_steps=3, verbose=False).fit(named)
    expected = model.predict(named)
    named.var_names = named.var_names.str.replace("_", "-")
    np.testing.assert_array_equal(model.predict(named), expected)


def test_a_column_stands_for_one_gene(cells):
    named = cells[:, :300].copy()
    named.var_names = [f"g{i}" for i in range(298)] + ["A_B", "A-B"]
    model = bgf.BGFormer(max_steps=3, verbose=False).fit(named)
    assert {"A_B", "A-B"} <= set(model.genes_)
    without = named[:, named.var_names != "A_B"].copy()
    with pytest.warns(UserWarning, match=r"1 of the model's \d+ genes are missing .*'A_B'"):
        model.predict(without)


ESTIMATOR_CHECKS = [
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
]
"""Those of scikit-learn that need no array of features; older versions lack some."""


@pytest.mark.parametrize("name", ESTIMATOR_CHECKS)
def test_it_is_an_estimator_of_scikit_learn(name):
    if not hasattr(estimator_checks, name):
        pytest.skip(f"this scikit-learn has no {name}")
    getattr(estimator_checks, name)("BGFormer", bgf.BGFormer())


def test_a_clone_has_the_settings_and_no_fit(model):
    cloned = clone(model)
    assert cloned.get_params() == model.get_params()
    assert not hasattr(cloned, "partition_")
    with pytest.raises(NotFittedError, match="this model is not fitted yet; call fit"):
        cloned.recluster()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n_clusters": 2.5}, "n_clusters is 2.5; it must be a whole number"),
        ({"n_clusters": True}, "n_clusters is True; it must be a whole number"),
        ({"resolution": "a"}, "resolution is 'a'; it must be a number above 0"),
        ({"resolution": float("inf")}, "resolution is inf; it must be a number above 0"),
    ],
)
def test_reclustering_checks_what_it_is_asked_for(model, asked, message):
    with pytest.raises(ValueError, match=message):
        model.recluster(**asked)


@pytest.mark.parametrize("resolution", [None, 1.2, 2.0])
def test_training_cells_are_predicted_as_they_were_clustered(pbmc700, resolution, tmp_path):
    model = bgf.BGFormer(max_steps=20, resolution=resolution, verbose=False).fit(pbmc700)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(model.predict(pbmc700), model.labels_)
    np.testing.assert_array_equal(bgf.BGFormer.load(tmp_path / "model").labels_, model.labels_)


def test_settings_may_change_until_the_fit_and_are_checked_there(cells):
    model = bgf.BGFormer(max_steps=3, verbose=False).set_params(n_latent=3)
    with pytest.raises(ValueError, match="n_latent is 3; it must be a whole number from 4"):
        model.fit(cells)
    model.n_latent = 30
    assert model.fit(cells).latent_.shape == (150, 30)
    model.n_latent = 20  # the fit is not of these settings, and stays as it is
    assert model.predict(cells).shape == (150,)
    assert model.embed(cells).shape == (150, 30)


def test_a_model_says_what_it_is(model):
    assert repr(bgf.BGFormer()) == "BGFormer, not fitted"
    assert repr(model).startswith("BGFormer, fitted: 700 cells, clusters: ")
    np.testing.assert_array_equal(model.labels_, model.partition_.labels)


def test_missing_genes_are_treated_as_masked_with_a_warning(pbmc700, model):
    part = pbmc700[:, 60:].copy()
    with pytest.warns(
        UserWarning, match=r"60 of the model's \d+ genes are missing in the new cells"
    ):
        found = model.predict(part)
    assert (found == model.partition_.labels).mean() > 0.85


def test_too_few_shared_genes_are_refused(pbmc700, model, unchanged):
    part = pbmc700[:, :200].copy()
    with (
        unchanged(part),
        pytest.raises(ValueError, match=r"only 200 of the model's \d+ genes .*half"),
    ):
        model.predict(part)


def test_an_unfitted_model_says_so(cells, tmp_path):
    blank = bgf.BGFormer()
    for use in (blank.predict, blank.embed, blank.confidence):
        with pytest.raises(
            ValueError, match=r"this model is not fitted yet; call fit\(adata\) first"
        ):
            use(cells)
    with pytest.raises(ValueError, match="not fitted yet"):
        blank.save(tmp_path / "model")
    with pytest.raises(ValueError, match="not fitted yet"):
        blank.recluster()
    assert list(tmp_path.iterdir()) == []


def test_reclustering_changes_what_is_predicted(cells):
    fitted = bgf.BGFormer(max_steps=6, verbose=False).fit(cells)
    found = fitted.recluster(n_clusters=4)
    assert len(np.unique(found.labels)) == 4
    np.testing.assert_array_equal(fitted.predict(cells), found.labels)


def test_a_fit_that_fails_leaves_the_model_as_it_was(cells, pbmc700, monkeypatch):
    fitted = bgf.BGFormer(max_steps=6, verbose=False).fit(cells)
    before = fitted.predict(cells)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("bgformer.graph.anchors.embed", stop)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(pbmc700[200:, :500].copy())
    monkeypatch.undo()
    np.testing.assert_array_equal(fitted.predict(cells), before)


def test_batches_are_taken_into_account(cells):
    cells.obs["donor"] = np.where(np.arange(150) % 2, "a", "b")
    with_batch = bgf.BGFormer(max_steps=6, verbose=False).fit(cells, batch_key="donor")
    without = bgf.BGFormer(max_steps=6, verbose=False).fit(cells)
    assert with_batch.batches_ == ["a", "b"]
    assert not np.allclose(with_batch.latent_, without.latent_)
    np.testing.assert_array_equal(with_batch.predict(cells), with_batch.partition_.labels)


def test_save_and_load_give_the_same_model(pbmc700, model, tmp_path):
    model.save(tmp_path / "model")
    loaded = bgf.BGFormer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(pbmc700), model.predict(pbmc700))
    np.testing.assert_array_equal(loaded.embed(pbmc700), model.embed(pbmc700))
    np.testing.assert_array_equal(loaded.confidence(pbmc700), model.confidence(pbmc700))
    np.testing.assert_array_equal(loaded.latent_, model.latent_)
    assert loaded.settings() == model.settings()
    assert set(loaded.history_) == set(model.history_)
    pd.testing.assert_frame_equal(loaded.evidence_, model.evidence_)
    for name, value in model.partition_._asdict().items():
        np.testing.assert_array_equal(getattr(loaded.partition_, name), value)
    expected = partition(model.weights_, 2.0, seed=model.seed)
    np.testing.assert_array_equal(loaded.recluster(resolution=2.0).labels, expected.labels)


@pytest.mark.filterwarnings("ignore:one cluster, because")
@pytest.mark.parametrize("asked", [{}, {"n_clusters": 3}])
def test_a_model_of_one_type_is_loaded_as_it_was(one_type, tmp_path, asked):
    fitted = bgf.BGFormer(**asked, max_steps=20, verbose=False).fit(one_type)
    fitted.save(tmp_path / "model")
    loaded = bgf.BGFormer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.confidence(one_type), fitted.partition_.confidence)
    assert loaded.recluster().labels.max() + 1 == asked.get("n_clusters", 1)


@pytest.mark.filterwarnings("ignore:one cluster, because")
def test_one_type_is_cut_by_a_resolution_and_whole_again_without(one_type):
    fitted = bgf.BGFormer(max_steps=20, verbose=False).fit(one_type)
    assert fitted.partition_.labels.max() == 0
    assert fitted.recluster(resolution=0.8).labels.max() > 0
    assert fitted.recluster().labels.max() == 0


def test_the_latent_is_in_units_of_the_spread_of_like_cells(pbmc700, model):
    latent = model.embed(pbmc700)
    half = np.random.default_rng(3).permutation(len(latent)) % 2 == 0
    distance = np.square(latent[half][:, None] - latent[~half][None]).sum(axis=2)
    nearest = distance.min(axis=1)
    # Two like cells differ by sqrt(2) in each direction; the nearest of many by less.
    assert 0.3 < np.median(nearest) / (2 * latent.shape[1]) < 1


def test_a_loaded_model_can_be_saved_again(model, tmp_path, pbmc700):
    model.save(tmp_path / "one")
    bgf.BGFormer.load(tmp_path / "one").save(tmp_path / "two")
    two = bgf.BGFormer.load(tmp_path / "two")
    np.testing.assert_array_equal(two.predict(pbmc700), model.partition_.labels)


def test_a_model_loads_in_a_fresh_process(model, tmp_path, run_python):
    model.save(tmp_path / "model")
    script = (
        "import sys, numpy as np, bgformer as bgf\n"
        "from pbmc700 import load_pbmc700\n"
        "np.save(sys.argv[2], bgf.BGFormer.load(sys.argv[1]).predict(load_pbmc700()))\n"
    )
    done = run_python("-c", script, tmp_path / "model", tmp_path / "labels.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), model.partition_.labels)
