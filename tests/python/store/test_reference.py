"""The model that results hold: small, whole, and of these cells alone."""

import anndata
import numpy as np
import pytest

import bgformer as bgf


@pytest.fixture
def new(pbmc700):
    return pbmc700[::3, ::-1].copy()


def same_prediction(new, reference, other):
    found, expected = (bgf.tl.predict(new, one, copy=True) for one in (reference, other))
    assert list(found.obs["bgformer"]) == list(expected.obs["bgformer"])
    confidence = expected.obs["bgformer_confidence"]
    np.testing.assert_array_equal(found.obs["bgformer_confidence"], confidence)
    np.testing.assert_array_equal(found.obsm["X_bgformer"], expected.obsm["X_bgformer"])
    assert list(found.uns["bgformer_colors"]) == list(expected.uns["bgformer_colors"])


def test_clustered_cells_predict_as_their_model_does(new, clustered, model):
    same_prediction(new, clustered, model)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_the_model_survives_a_file_and_a_subset(new, clustered, tmp_path, suffix):
    path = tmp_path / f"reference{suffix}"
    if suffix == ".zarr":
        pytest.importorskip("zarr")
        clustered.write_zarr(path)
        read = anndata.read_zarr(path)
    else:
        clustered.write_h5ad(path, compression="gzip")
        read = anndata.read_h5ad(path)
    same_prediction(new, read, clustered)
    same_prediction(new, read[::5], clustered)  # of 140 cells, a view
    same_prediction(new, read[::5][:, :10].copy(), clustered)


def test_clusters_and_names_are_those_that_the_reference_has_now(new, clustered, pbmc700):
    bgf.tl.recluster(clustered, n_clusters=4)
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"0": "large"})
    clustered.uns["bgformer_colors"] = ["red", *clustered.uns["bgformer_colors"][1:]]
    predicted = bgf.tl.predict(pbmc700[:, ::-1].copy(), clustered, copy=True)
    assert list(predicted.obs["bgformer"]) == list(clustered.obs["bgformer"])
    np.testing.assert_allclose(
        predicted.obs["bgformer_confidence"], clustered.obs["bgformer_confidence"], atol=1e-5
    )
    assert predicted.uns["bgformer_colors"][0] == "red"
    assert list(predicted.obs["bgformer"].cat.categories) == ["large", "1", "2", "3"]
    bgf.tl.predict(new, clustered)
    bgf.tl.predict(new, clustered)  # again, over names that are not the user's of `new`
    assert "large" in set(new.obs["bgformer"])
    few = new[new.obs["bgformer"] == "1"].copy()  # predicted cells are a reference themselves
    assert bgf.tl.model(few).looks.names == ["large", "1", "2", "3"]


def test_a_model_of_cells_is_saved_with_their_names(new, clustered, tmp_path):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"2": "B cells"})
    clustered.uns["bgformer_colors"] = ["red", *clustered.uns["bgformer_colors"][1:]]
    bgf.tl.model(clustered[::2]).save(tmp_path / "model")
    loaded = bgf.BGFormer.load(tmp_path / "model")
    assert loaded.labels_.shape == (350,)
    same_prediction(new, loaded, clustered)
    loaded.recluster(resolution=0.8)
    assert "B cells" in loaded.looks.names
    loaded.save(tmp_path / "again")
    same_prediction(new, tmp_path / "again", loaded)


def test_a_reference_that_cannot_be_used_is_refused(new, clustered, pbmc700, unchanged):
    without = clustered.copy()
    del without.uns["bgformer"]["model"]
    damaged = clustered.copy()
    damaged.uns["bgformer"]["model"] = damaged.uns["bgformer"]["model"].copy()
    damaged.uns["bgformer"]["model"][-1] ^= 1
    another = clustered.copy()
    bgf.tl.cluster(another, max_steps=3, seed=1, verbose=False)
    mixed = clustered.copy()
    mixed.uns["bgformer"]["model"] = another.uns["bgformer"]["model"]
    moved = clustered.copy()
    moved.uns["bgformer"] = another.uns["bgformer"]
    both = anndata.concat(
        [clustered, pbmc700], keys=["a", "b"], index_unique="-", uns_merge="first"
    )
    cases = [
        (pbmc700, "no results named 'bgformer'"),
        (without, "hold no model, because an earlier version stored them; run bgformer.tl"),
        (damaged, "the model in 'reference.uns.*bgformer..' is damaged"),
        (mixed, "is damaged .it is of another fit than the anchors"),
        (moved, "are of another fit than the results"),
        (both, "missing"),
    ]
    for reference, message in cases:
        with unchanged(new), pytest.raises(ValueError, match=message):
            bgf.tl.predict(new, reference)
    with unchanged(new), pytest.raises(ValueError, match="device"):
        bgf.tl.predict(new, clustered, device="nonsense")


def test_names_that_were_given_cell_by_cell_are_not_used_in_silence(new, clustered):
    names = clustered.obs["bgformer"].astype(str)
    names.iloc[0] = "doublet"
    clustered.obs["bgformer"] = names
    with pytest.warns(UserWarning, match=r"different names in reference\.obs"):
        bgf.tl.predict(new, clustered)
    assert "doublet" not in set(new.obs["bgformer"])
