"""New cells with the clusters of a fitted model."""

import anndata
import numpy as np
import pytest

import bgformer as bgf


@pytest.fixture
def new(pbmc700):
    """A third of the cells, in another order of the genes."""
    return pbmc700[::3, ::-1].copy()


def test_results_are_those_of_the_model(new, model, tmp_path):
    model.save(tmp_path / "reference")
    for reference in (model, tmp_path / "reference", str(tmp_path / "reference")):
        adata = bgf.tl.predict(new, reference, copy=True)
        labels = adata.obs["bgformer"]
        np.testing.assert_array_equal(labels.astype(int), model.predict(new))
        assert list(labels.cat.categories) == [str(i) for i in range(model.partition_.n_clusters)]
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


def test_what_cannot_be_predicted_changes_nothing(new, model, unchanged, tmp_path):
    cases = [
        (new, 1, "reference is 1; it must be a fitted BGFormer, or the folder of a saved one"),
        (new, bgf.BGFormer(), "this model is not fitted yet"),
        (new[:, :100].copy(), model, "only .* of the model's .* genes"),
    ]
    for adata, reference, message in cases:
        with unchanged(adata), pytest.raises(ValueError, match=message):
            bgf.tl.predict(adata, reference)
    with unchanged(new), pytest.raises(FileNotFoundError, match="there is no saved model"):
        bgf.tl.predict(new, tmp_path)
    with pytest.raises(TypeError, match="adata is a ndarray; give an AnnData"):
        bgf.tl.predict(np.ones((3, 3)), model)
    new.obs["bgformer"] = "mine"
    with unchanged(new), pytest.raises(ValueError, match="'bgformer' that is not from bgformer"):
        bgf.tl.predict(new, model)
