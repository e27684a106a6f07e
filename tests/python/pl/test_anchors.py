"""The anchors and their links."""

import numpy as np
from matplotlib import colors

import bgformer as bgf


def test_anchors_are_at_cells_of_theirs_in_the_colours_of_their_clusters(clustered):
    axis = bgf.pl.anchors(clustered)
    points = axis.collections[2]  # after the cells and the links
    weights = clustered.obsm["bgformer_anchors"].tocsc()
    mass = np.asarray(weights.sum(axis=0)).ravel()
    used = np.flatnonzero(mass)
    assert len(points.get_offsets()) == len(used)
    areas = np.maximum(mass[used] / mass.max(), 0.05)  # the smallest are still seen
    np.testing.assert_allclose(points.get_sizes() / points.get_sizes().max(), areas)
    cells = clustered.obsm["X_bgformer_umap"]
    for anchor, place in zip(used[:20], np.asarray(points.get_offsets()), strict=False):
        own = cells[weights[:, anchor].nonzero()[0]]
        assert np.isclose(own, place, atol=1e-5).all(axis=1).any()
    clusters = clustered.uns["bgformer"]["anchor_clusters"][used]
    given = colors.to_rgba_array(list(clustered.uns["bgformer_colors"]))
    np.testing.assert_allclose(points.get_facecolors(), given[clusters])


def test_names_of_the_clusters_are_on_the_anchors_and_in_the_legend(clustered):
    names = {"0": "T cells"}
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories(names)
    axis = bgf.pl.anchors(clustered)
    for shown in (axis.texts, axis.get_legend().get_texts()):
        texts = [text.get_text() for text in shown]
        assert texts == list(clustered.obs["bgformer"].cat.categories)


def test_a_subset_has_its_own_anchors(clustered, tmp_path):
    part = clustered[clustered.obs["bgformer"].isin(["0", "1"])].copy()
    axis = bgf.pl.anchors(part, save=tmp_path / "anchors.png")
    assert (tmp_path / "anchors.png").stat().st_size > 1000
    used = np.asarray(part.obsm["bgformer_anchors"].sum(axis=0)).ravel() > 0
    assert len(axis.collections[2].get_offsets()) == used.sum()
