"""The UMAP: its panels and legends; the caller's own UMAP stays."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.text import Text

import bgformer as bgf


def test_a_umap_is_computed_once_and_kept_apart(clustered, drawn):

    mine = np.full((clustered.n_obs, 2), 7.0)
    clustered.obsm["X_umap"] = mine.copy()
    uns = set(clustered.uns)
    axis = bgf.pl.embedding(clustered)
    umap = clustered.obsm["X_bgformer_umap"]
    assert umap.shape == (clustered.n_obs, 2)
    assert np.isfinite(umap).all()
    np.testing.assert_array_equal(clustered.obsm["X_umap"], mine)
    assert set(clustered.uns) == uns
    assert len(axis.collections[0].get_offsets()) == clustered.n_obs
    # Seeded: the same as the one made in the fixture, from the same results.
    np.testing.assert_array_equal(umap, drawn.obsm["X_bgformer_umap"])
    clustered.obsm["X_bgformer_umap"][0] = 0
    bgf.pl.embedding(clustered)
    assert (clustered.obsm["X_bgformer_umap"][0] == 0).all()


def test_scanpy_finds_the_umap_until_the_user_has_another(clustered):
    import scanpy as sc

    bgf.pl.embedding(clustered)
    umap = clustered.obsm["X_bgformer_umap"]
    drawn = sc.pl.umap(clustered, color="bgformer", show=False).collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(umap[:, 0]))
    # after another fit, ours is renewed
    del clustered.obsm["X_bgformer_umap"]
    clustered.uns["bgformer"]["seed"] = 7
    bgf.pl.embedding(clustered)
    assert not np.array_equal(clustered.obsm["X_bgformer_umap"], umap)
    np.testing.assert_array_equal(clustered.obsm["X_umap"], clustered.obsm["X_bgformer_umap"])
    # a UMAP that the user made in its place stays
    sc.pp.neighbors(clustered, use_rep="X_bgformer")
    sc.tl.umap(clustered, maxiter=5)
    theirs = clustered.obsm["X_umap"].copy()
    del clustered.obsm["X_bgformer_umap"]
    bgf.pl.embedding(clustered)
    np.testing.assert_array_equal(clustered.obsm["X_umap"], theirs)


def test_clusters_are_named_on_the_cells(drawn):
    axis = bgf.pl.embedding(drawn)
    names = {text.get_text() for text in axis.texts}
    assert set(drawn.obs["bgformer"].cat.categories) <= names
    assert axis.get_title() == "bgformer"


def test_several_columns_give_several_panels(drawn):
    axes = bgf.pl.embedding(drawn, color=["bgformer", "confidence", "cell_type", "CD79A"])
    assert [axis.get_title() for axis in axes] == ["bgformer", "confidence", "cell_type", "CD79A"]
    sizes = drawn.obs["cell_type"].value_counts(sort=False)
    legend = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert legend == [f"{name} ({n})" for name, n in sizes.items()]


@pytest.mark.parametrize("k", [5, 20, 45])
def test_many_clusters_stay_readable(drawn, k):
    bgf.tl.recluster(drawn, n_clusters=k)
    axis = bgf.pl.embedding(drawn)
    axis.figure.canvas.draw()
    legend = axis.get_legend().get_texts()
    assert [text.get_text().split()[0] for text in legend] == [str(i) for i in range(k)]
    assert len(axis.texts) == (k if k <= 30 else 0)
    page = axis.figure.bbox
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    for box in [*boxes, *(text.get_window_extent() for text in legend)]:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
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
    rare = sizes.index[sizes < 0.03 * clustered.n_obs]  # one, or two
    own = at[clustered.obs["bgformer"].isin(rare).to_numpy()]
    np.testing.assert_allclose(sorted(drawn[-len(own) :, 0]), sorted(own[:, 0]), rtol=1e-6)
    # again, in front of an outline
    outline, again = axis.collections[1:]
    assert outline.get_sizes()[0] > again.get_sizes()[0] == axis.collections[0].get_sizes()[0]
    np.testing.assert_array_equal(again.get_offsets()[-len(own) :], drawn[-len(own) :])
    axis.figure.canvas.draw()
    names = {text.get_text(): text for text in axis.texts}
    assert set(names) == set(clustered.obs["bgformer"].cat.categories)
    assert tuple(names[rarest].xyann) != (0, 0)
    assert tuple(names["0"].xyann) == (0, 0)
    box = Text.get_window_extent(names[rarest])
    of_rarest = at[(clustered.obs["bgformer"] == rarest).to_numpy()]
    assert not any(box.contains(*at) for at in axis.transData.transform(of_rarest))


def test_names_move_when_the_figure_gets_another_size(clustered):
    axis = bgf.pl.embedding(clustered)
    axis.figure.set_size_inches(3, 2)
    axis.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_a_legend_has_room_in_a_figure_of_the_user(drawn):
    figure, axis = plt.subplots(figsize=(7, 4.5))
    bgf.pl.embedding(drawn, color="cell_type", ax=axis)
    figure.canvas.draw()
    assert axis.get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_groups_have_the_colours_of_the_clusters_that_they_resemble(drawn):
    bgf.pl.embedding(drawn, color="cell_type")
    shared = pd.crosstab(drawn.obs["cell_type"], drawn.obs["bgformer"])
    colours = dict(zip(shared.index, drawn.uns["cell_type_colors"], strict=True))
    assert len(set(colours.values())) == len(colours)
    of_cluster = dict(zip(shared.columns, drawn.uns["bgformer_colors"], strict=True))
    for name in ("CD14+ Monocyte", "CD34+", "Dendritic"):
        assert colours[name] == of_cluster[shared.loc[name].idxmax()]
    # no cluster is mostly of these, so no cluster has their colour
    assert colours["CD4+/CD45RO+ Memory"] not in of_cluster.values()


def test_cells_without_a_group_are_counted(drawn):
    drawn.obs["known"] = drawn.obs["cell_type"].cat.remove_categories("Dendritic")
    legend = bgf.pl.embedding(drawn, color="known").get_legend()
    n_missing = int(drawn.obs["known"].isna().sum())
    assert legend.get_texts()[-1].get_text() == f"NA ({n_missing})"


def test_subclusters_are_drawn_like_clusters(clustered):
    bgf.tl.subcluster(clustered, "0", n_clusters=2, verbose=False)
    axis = bgf.pl.embedding(clustered, key_added="bgformer_sub")
    names = [text.get_text() for text in axis.texts]
    assert names == list(clustered.obs["bgformer_sub"].cat.categories)
    shown = [to_hex(point.get_color()) for point in axis.get_legend().get_lines()]
    assert shown == [colour.lower() for colour in clustered.uns["bgformer_sub_colors"]]
    _, confidence = bgf.pl.embedding(
        clustered, color=["bgformer_sub", "confidence"], key_added="bgformer_sub"
    )
    drawn = np.asarray(confidence.collections[0].get_array())
    values = clustered.obs["bgformer_sub_confidence"]
    np.testing.assert_allclose(np.sort(drawn), np.sort(values))
    assert len(
        bgf.pl.markers(clustered, "LYZ", key_added="bgformer_sub").get_yticklabels()
    ) == len(names)


def test_the_confidence_can_have_limits_of_the_users_own(clustered):
    axis = bgf.pl.embedding(clustered, color="confidence", vmin=0.5)
    assert axis.collections[0].norm.vmin == 0.5
    axis = bgf.pl.embedding(clustered, color="confidence")
    assert axis.collections[0].norm(0.8) == pytest.approx(0.5)
    axis = bgf.pl.embedding(clustered, color="confidence", cmap="magma")
    assert axis.collections[0].cmap.name == "magma"


def test_high_values_are_dark_in_all_panels(clustered):
    for axis in bgf.pl.embedding(clustered, color=["confidence", "LYZ"]):
        light, dark = axis.collections[0].cmap([0.0, 1.0])[:, :3].mean(axis=1)
        assert dark < light


def test_cells_with_the_same_name(clustered):
    names = clustered.obs_names.to_numpy().copy()
    names[1] = names[0]
    clustered.obs_names = names
    assert len(bgf.pl.embedding(clustered).collections[0].get_offsets()) == clustered.n_obs


def test_names_of_the_users_own_are_drawn_in_the_clusters_colours(clustered):
    names = {"0": "a cluster with a long name"}
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories(names)
    axis = bgf.pl.embedding(clustered)
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts[0].startswith("a cluster with a long name (")


def test_only_functions_are_named():
    assert dir(bgf.pl) == sorted(bgf.pl.__all__)
    assert "cluster" in dir(bgf.tl)
    assert all(callable(getattr(bgf.tl, name)) for name in dir(bgf.tl))
