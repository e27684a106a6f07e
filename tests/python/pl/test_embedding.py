"""The UMAP: its panels and legends; the caller's own UMAP stays."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import bgformer as bgf


def test_a_umap_is_computed_once_and_kept_apart(clustered, drawn, monkeypatch):
    import scanpy as sc

    mine = np.full((clustered.n_obs, 2), 7.0)
    clustered.obsm["X_umap"] = mine.copy()
    uns = set(clustered.uns)
    axis = bgf.pl.embedding(clustered)
    umap = clustered.obsm["X_bgformer_umap"]
    assert umap.shape == (clustered.n_obs, 2)
    assert np.isfinite(umap).all()
    np.testing.assert_array_equal(clustered.obsm["X_umap"], mine)
    assert set(clustered.uns) == uns
    assert sum(len(part.get_offsets()) for part in axis.collections) == clustered.n_obs
    # Seeded: the same as the one made in the fixture, from the same results.
    np.testing.assert_array_equal(umap, drawn.obsm["X_bgformer_umap"])
    monkeypatch.setattr(sc.tl, "umap", None)
    bgf.pl.embedding(clustered)


def test_groups_apart_in_the_latent_are_apart_in_the_umap(drawn):
    from sklearn.neighbors import KNeighborsClassifier

    labels = drawn.obs["bgformer"].to_numpy()
    near = KNeighborsClassifier(10).fit(drawn.obsm["X_bgformer_umap"], labels)
    assert near.score(drawn.obsm["X_bgformer_umap"], labels) > 0.9


def test_clusters_are_named_on_the_cells(drawn):
    axis = bgf.pl.embedding(drawn)
    names = {text.get_text() for text in axis.texts}
    assert set(drawn.obs["bgformer"].cat.categories) <= names
    assert axis.get_title() == "bgformer"


def test_several_columns_give_several_panels(drawn):
    axes = bgf.pl.embedding(drawn, color=["bgformer", "confidence", "cell_type", "CD79A"])
    assert [axis.get_title() for axis in axes] == ["bgformer", "confidence", "cell_type", "CD79A"]
    legend = axes[2].get_legend()
    assert {text.get_text() for text in legend.get_texts()} == set(
        drawn.obs["cell_type"].cat.categories
    )


@pytest.mark.parametrize("k", [5, 20, 45])
def test_many_clusters_stay_readable(drawn, k):
    bgf.tl.recluster(drawn, n_clusters=k)
    axis = bgf.pl.embedding(drawn)
    axis.figure.canvas.draw()
    shown = axis.texts if axis.get_legend() is None else axis.get_legend().get_texts()
    assert {text.get_text() for text in shown} == {str(i) for i in range(k)}
    renderer = axis.figure.canvas.get_renderer()
    page = axis.figure.bbox
    for text in shown:
        box = text.get_window_extent(renderer)
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
    # The cells keep their room beside the legend.
    assert axis.get_window_extent().height * 0.8 < axis.get_window_extent().width


def test_axes_of_the_caller_are_drawn_into(drawn):
    figure, axis = plt.subplots()
    assert bgf.pl.embedding(drawn, color="cell_type", ax=axis) is axis
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(ValueError, match="ax holds one panel, but color names 2"):
        bgf.pl.embedding(drawn, color=["bgformer", "cell_type"], ax=axis)


def test_options_reach_scanpy(drawn):
    axis = bgf.pl.embedding(drawn, title="mine", legend_loc=None, size=3)
    assert axis.get_title() == "mine"
    assert not axis.texts
    assert axis.collections[0].get_sizes()[0] == 3


def test_a_column_that_is_not_there(drawn):
    with pytest.raises(ValueError, match=r"'batch' is neither a column of adata.obs nor a gene"):
        bgf.pl.embedding(drawn, color="batch")
    assert plt.get_fignums() == []


def test_a_rare_cluster_is_drawn_last_and_its_name_beside_it(clustered):
    sizes = clustered.obs["bgformer"].value_counts()
    rarest = sizes.index[-1]
    assert sizes[rarest] < 0.03 * clustered.n_obs
    axis = bgf.pl.embedding(clustered)
    drawn = np.asarray(axis.collections[0].get_offsets())
    at = clustered.obsm["X_bgformer_umap"]
    own = at[(clustered.obs["bgformer"] == rarest).to_numpy()]
    np.testing.assert_allclose(sorted(drawn[-len(own) :, 0]), sorted(own[:, 0]), rtol=1e-6)
    names = {text.get_text(): text for text in axis.texts}
    assert set(names) == set(clustered.obs["bgformer"].cat.categories)
    assert tuple(names[rarest].xyann) != (0, 0)
    assert tuple(names["0"].xyann) == (0, 0)


def test_the_confidence_can_have_limits_of_the_users_own(clustered):
    axis = bgf.pl.embedding(clustered, color="confidence", vmin=0.5)
    assert axis.collections[0].norm.vmin == 0.5
    axis = bgf.pl.embedding(clustered, color="confidence")
    assert axis.collections[0].norm(0.8) == pytest.approx(0.5)


def test_names_of_the_users_own_are_drawn_in_the_clusters_colours(clustered):
    names = {"0": "a cluster with a long name"}
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories(names)
    axis = bgf.pl.embedding(clustered)
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts[0] == "a cluster with a long name"


def test_only_functions_are_named():
    assert dir(bgf.pl) == sorted(bgf.pl.__all__)
    assert "cluster" in dir(bgf.tl)
    assert all(callable(getattr(bgf.tl, name)) for name in dir(bgf.tl))
