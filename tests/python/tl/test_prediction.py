"""New cells with the clusters of a fitted model."""

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf
from bgformer.graph.outliers import UNASSIGNED
from bgformer.pipeline import prediction
from bgformer.runtime import block_sizes


@pytest.fixture
def new(pbmc700):
    """A third of the cells, in another order of the genes."""
    return pbmc700[::3, ::-1].copy()


def test_results_are_those_of_the_model(new, model, tmp_path):
    model.save(tmp_path / "reference")
    for reference in (model, tmp_path / "reference", str(tmp_path / "reference")):
        adata = bgf.tl.predict(new, reference, copy=True)
        labels = adata.obs["bgformer"]
        score = adata.obs["bgformer_outlier"]
        assert score.between(0, 1).all()
        assert ((labels == "unassigned") == (score > UNASSIGNED)).all()
        assert (labels != "unassigned").mean() > 0.9  # their types are in the reference
        nearest = model.predict(new).astype(str)
        assert (labels[score <= UNASSIGNED] == nearest[score <= UNASSIGNED]).all()
        numbers = [str(i) for i in range(model.partition_.n_clusters)]
        assert [name for name in labels.cat.categories if name != "unassigned"] == numbers
        np.testing.assert_array_equal(adata.obs["bgformer_confidence"], model.confidence(new))
        np.testing.assert_array_equal(adata.obsm["X_bgformer"], model.embed(new))
    assert "bgformer" not in new.obs


def test_cells_of_the_fit_get_their_own_clusters(clustered, pbmc700, model):
    bgf.tl.predict(pbmc700, model)
    assert (pbmc700.obs["bgformer"].astype(str) == clustered.obs["bgformer"].astype(str)).all()
    assert list(pbmc700.uns["bgformer_colors"]) == list(clustered.uns["bgformer_colors"])


def test_predicted_cells_are_reclustered_and_survive_a_file(new, model, tmp_path):
    bgf.tl.predict(new, model, key_added="reference")
    new.write_h5ad(tmp_path / "new.h5ad")
    read = anndata.read_h5ad(tmp_path / "new.h5ad")
    bgf.tl.recluster(read, n_clusters=3, key_added="reference")
    assert read.obs["reference"].nunique() == 3


@pytest.fixture
def without_b(pbmc700):
    """A model of half of the cells without B cells, and all other cells."""
    is_b = (pbmc700.obs["cell_type"] == "CD19+ B").to_numpy()
    old = ~is_b & (np.arange(700) % 2 == 0)
    return bgf.BGFormer(verbose=False).fit(pbmc700[old].copy()), pbmc700[~old].copy()


def test_a_type_that_the_reference_lacks_is_unassigned(without_b):
    reference, new = without_b
    with pytest.warns(UserWarning, match=r"of 3\d\d cells .* are unlike those of the reference"):
        bgf.tl.predict(new, reference)
    is_b = new.obs["cell_type"] == "CD19+ B"
    unassigned = new.obs["bgformer"] == "unassigned"
    assert unassigned[is_b].mean() > 0.5
    assert unassigned[~is_b].mean() < 0.1
    assert new.uns["bgformer_colors"][-1] == "#999999"
    assert new.uns["bgformer"]["evidence"]["n_cells"].sum() == (~unassigned).sum()
    before = new.obs.copy()
    with pytest.warns(UserWarning, match="unassigned"):
        bgf.tl.predict(new, reference)  # over its own results
    pd.testing.assert_frame_equal(new.obs, before)


@pytest.mark.filterwarnings("ignore:.*are unlike those of the reference")
def test_unassigned_cells_stay_so_when_clusters_change(without_b, tmp_path):
    reference, new = without_b
    bgf.tl.predict(new, reference)
    new.write_h5ad(tmp_path / "new.h5ad")
    new = anndata.read_h5ad(tmp_path / "new.h5ad")
    unassigned, score = new.obs["bgformer"] == "unassigned", new.obs["bgformer_outlier"].copy()
    named = {"0": "largest"}
    new.obs["bgformer"] = new.obs["bgformer"].cat.rename_categories(named)
    bgf.tl.recluster(new)
    bgf.tl.recluster(new, resolution=3.0, cluster_name="fine")
    for column in ("bgformer", "fine"):
        assert ((new.obs[column] == "unassigned") == unassigned).all()
        assert len(new.uns[f"{column}_colors"]) == new.obs[column].nunique()
    assert "largest" in set(new.obs["bgformer"])
    sizes = new.obs["fine"].value_counts(sort=False).drop("unassigned")
    assert list(sizes) == sorted(sizes, reverse=True)  # unassigned cells make no cluster large
    assert (new.obs["bgformer_outlier"] == score).all()


@pytest.mark.filterwarnings("ignore:.*are unlike those of the reference")
def test_unassigned_cells_can_be_given_a_name(without_b):
    reference, new = without_b[0], without_b[1].copy()
    bgf.tl.predict(new, reference)
    largest = new.obs["bgformer"].value_counts().drop("unassigned").index[0]
    names = {"unassigned": "B", largest: "T"}
    new.obs["bgformer"] = new.obs["bgformer"].cat.rename_categories(names)
    new.uns["bgformer_colors"][-1] = "#123456"
    is_b = new.obs["bgformer"] == "B"
    bgf.tl.recluster(new, resolution=3.0, cluster_name="fine")
    bgf.tl.recluster(new, n_clusters=reference.partition_.n_clusters)
    assert ((new.obs["fine"] == "B") == is_b).all()
    assert ((new.obs["bgformer"] == "B") == is_b).all()
    assert "T" in set(new.obs["bgformer"])
    categories = list(new.obs["bgformer"].cat.categories)
    assert new.uns["bgformer_colors"][categories.index("B")] == "#123456"
    again = bgf.tl.predict(without_b[1], new, copy=True)
    assert "T" in set(again.obs["bgformer"])  # what is of no cluster has no name to give
    assert "B" not in set(again.obs["bgformer"])


@pytest.mark.filterwarnings("ignore:.*are unlike those of the reference")
def test_the_order_of_cells_and_genes_does_not_matter(without_b):
    reference, new = without_b
    order = np.random.default_rng(0).permutation(new.n_obs)
    mixed = new[order][:, np.arange(new.n_vars)[::-1]].copy()
    for adata in (new, mixed):
        bgf.tl.predict(adata, reference)
    expected, found = new.obs["bgformer_outlier"], mixed.obs["bgformer_outlier"]
    np.testing.assert_allclose(found, expected[found.index], atol=0.02)
    assert (mixed.obs["bgformer"] == new.obs["bgformer"][mixed.obs_names]).mean() > 0.99


@pytest.mark.filterwarnings("ignore:.*are unlike those of the reference")
def test_a_fit_after_a_prediction_leaves_no_score(without_b):
    reference, new = without_b
    bgf.tl.predict(new, reference)
    bgf.tl.cluster(new, max_steps=3, verbose=False)
    assert "bgformer_outlier" not in new.obs
    assert "unassigned" not in new.obs["bgformer"].cat.categories


def test_cells_on_disk_are_scored_as_in_memory(new, model, tmp_path, monkeypatch):
    """Also those beyond the number of cells that the others are compared with."""
    monkeypatch.setattr(prediction, "_POOLED", 100)
    monkeypatch.setattr(block_sizes, "COUNTS", 64)
    new.write_h5ad(tmp_path / "new.h5ad")
    on_disk = anndata.read_h5ad(tmp_path / "new.h5ad", backed="r")
    for adata in (on_disk, new):
        bgf.tl.predict(adata, model)
    assert (on_disk.obs["bgformer_outlier"] == new.obs["bgformer_outlier"]).all()
    assert (new.obs["bgformer_outlier"] > UNASSIGNED).mean() < 0.15


def test_what_cannot_be_predicted_changes_nothing(new, model, unchanged, tmp_path):
    cases = [
        (new, 1, "reference is 1; it must be an AnnData with results, a fitted BGFormer, or"),
        (new, bgf.BGFormer(), "this model is not fitted yet"),
        (new[:, :100].copy(), model, "only .* of the model's .* genes"),
    ]
    for adata, reference, message in cases:
        with unchanged(adata), pytest.raises(ValueError, match=message):
            bgf.tl.predict(adata, reference)
    new.write_h5ad(tmp_path / "cells.h5ad")
    with unchanged(new), pytest.raises(ValueError, match=r"is a file with cells; read it first"):
        bgf.tl.predict(new, tmp_path / "cells.h5ad")
    with unchanged(new), pytest.raises(FileNotFoundError, match="there is no saved model"):
        bgf.tl.predict(new, tmp_path)
    with pytest.raises(TypeError, match="adata is a ndarray; give an AnnData"):
        bgf.tl.predict(np.ones((3, 3)), model)
    new.obs["bgformer"] = "mine"
    with unchanged(new), pytest.raises(ValueError, match="'bgformer' that is not from bgformer"):
        bgf.tl.predict(new, model)
