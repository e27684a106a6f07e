"""Plots: what is drawn, what is stored, and that the caller's own UMAP stays."""

import re

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

from matplotlib import pyplot as plt

import bgformer as bgf

# scanpy 1.11 calls Colormap.set_bad, which matplotlib 3.11 is about to deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def _with_umap(_clustered):
    adata = _clustered.copy()
    bgf.pl.embedding(adata)
    plt.close("all")
    return adata


@pytest.fixture
def drawn(_with_umap):
    """The clustered cells, their UMAP computed."""
    return _with_umap.copy()


def n_points(axis):
    return sum(len(part.get_offsets()) for part in axis.collections)


def lyz(adata, **kwargs):
    return bgf.pl.markers(adata, "LYZ", **kwargs)


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
    assert set(clustered.uns) - uns == {"bgformer_colors"}
    assert n_points(axis) == clustered.n_obs
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


@pytest.mark.parametrize("name", ["umap.png", "umap.pdf"])
def test_a_figure_is_saved(drawn, tmp_path, name):
    assert bgf.pl.embedding(drawn, save=tmp_path / name) is not None
    assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize(
    "plot",
    [
        bgf.pl.embedding,
        bgf.pl.training,
        bgf.pl.resolution,
        lambda adata, save: bgf.pl.markers(adata, "LYZ", save=save),
    ],
)
def test_a_folder_to_save_into_that_is_not_there(clustered, unchanged, tmp_path, plot):
    folder = tmp_path / "nowhere"
    message = re.escape(f"there is no folder '{folder}' to write into; make it first.")
    with unchanged(clustered), pytest.raises(FileNotFoundError, match=message):
        plot(clustered, save=folder / "figure.png")
    assert plt.get_fignums() == []


def test_show_shows_and_returns_nothing(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    assert bgf.pl.embedding(drawn, show=True) is None
    assert bgf.pl.training(drawn, show=True) is None
    assert bgf.pl.markers(drawn, "LYZ", show=True) is None
    assert len(shown) == 3
    assert bgf.pl.embedding(drawn, show=False) is not None
    assert bgf.pl.markers(drawn, "LYZ", show=False) is not None
    assert len(shown) == 3


def test_options_reach_scanpy(drawn):
    axis = bgf.pl.embedding(drawn, title="mine", legend_loc=None, size=3)
    assert axis.get_title() == "mine"
    assert not axis.texts
    assert axis.collections[0].get_sizes()[0] == 3


def test_a_column_that_is_not_there(drawn):
    with pytest.raises(ValueError, match=r"'batch' is neither a column of adata.obs nor a gene"):
        bgf.pl.embedding(drawn, color="batch")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("plot", [bgf.pl.embedding, bgf.pl.training, bgf.pl.resolution, lyz])
def test_no_results_yet(cells, unchanged, plot):
    message = r"adata has no results named 'bgformer'; run bgformer.tl.cluster\(adata\) first."
    with unchanged(cells), pytest.raises(ValueError, match=message):
        plot(cells)


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
    assert texts == ["cells drawn anew", "models trained anew"]
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


def test_plots_work_on_results_from_a_file(drawn, tmp_path):
    import anndata

    drawn.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert n_points(bgf.pl.embedding(read, color="cell_type")) == read.n_obs
    assert len(bgf.pl.training(read)) >= 4


def labels(axis):
    """Clusters from top to bottom and genes from left to right."""
    rows, columns = axis.get_yticklabels(), axis.get_xticklabels()
    return [[text.get_text() for text in part] for part in (rows, columns)]


def dots(axis):
    """Colour (RGBA) and size of every dot, a row each."""
    (collection,) = axis.collections
    return np.column_stack([collection.get_facecolors(), collection.get_sizes()])


def test_markers_are_drawn_in_order_for_each_cluster(clustered, unchanged):
    genes = ["MS4A1", "LYZ", "GNLY", "CD8A"]
    with unchanged(clustered):
        axis = bgf.pl.markers(clustered, genes)
    clusters = [str(i) for i in range(clustered.uns["bgformer"]["n_clusters"])]
    assert labels(axis) == [clusters, genes]
    assert axis.get_ylabel() == "bgformer"
    assert labels(bgf.pl.markers(clustered, genes, swap_axes=True)) == [genes, clusters]
    # The same dots as scanpy draws from values that it has normalised itself.
    import scanpy as sc

    sc.pp.normalize_total(clustered)
    sc.pp.log1p(clustered)
    theirs = sc.pl.dotplot(clustered, genes, "bgformer", show=False)["mainplot_ax"]
    assert len(dots(axis)) == len(clusters) * len(genes)
    np.testing.assert_allclose(dots(axis), dots(theirs), rtol=0.02)


def test_markers_in_groups(clustered):
    groups = {"B": ["MS4A1", "CD79A"], "mono": "LYZ", "other": ["CD79A"]}
    axis = bgf.pl.markers(clustered, groups)
    assert labels(axis)[1] == ["MS4A1", "CD79A", "LYZ", "CD79A"]
    by_gene = dots(axis).reshape(-1, 4, 5)
    np.testing.assert_array_equal(by_gene[:, 1], by_gene[:, 3])
    drawn = {text.get_text() for part in axis.figure.axes for text in part.texts}
    assert set(groups) <= drawn


def test_absent_markers_are_named_and_left_out(clustered):
    groups = {"none": ["Lyz2", "Cd8a"], "mono": ["LYZ", "Cd14"]}
    message = "3 of 4 markers are not genes of adata and are left out: Lyz2, Cd8a, Cd14."
    with pytest.warns(UserWarning, match=message) as warned:
        axis = bgf.pl.markers(clustered, groups)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert labels(axis)[1] == ["LYZ"]


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        (["Lyz2", "Cd8a"], r"none of the 2 markers \(the first: 'Lyz2'\) is among the genes of"),
        ({"mono": "Lyz2"}, r"none of the 1 markers \(the first: 'Lyz2'\) is among the genes of"),
        ([], "markers names no gene; give a list of genes"),
        ({"mono": []}, "markers names no gene; give a list of genes"),
    ],
)
def test_no_marker_at_all(clustered, markers, message):
    with pytest.raises(ValueError, match=message):
        bgf.pl.markers(clustered, markers)
    assert plt.get_fignums() == []


def test_markers_of_a_subset_of_cells_and_a_column_of_numbers(clustered):
    few = clustered[clustered.obs["bgformer"] != "0"]
    clusters = labels(bgf.pl.markers(few, "LYZ"))[0]
    assert clusters == [str(i) for i in range(1, len(clusters) + 1)]
    clustered.obs["bgformer"] = clustered.obs["bgformer"].astype(int)
    assert labels(bgf.pl.markers(clustered, "LYZ"))[0] == ["0", *clusters]


def test_markers_read_the_layer_that_was_clustered(cells):
    cells.layers["counts"], cells.X = cells.X, cells.X * 0.5
    bgf.tl.cluster(cells, layer="counts", n_clusters=3, max_steps=2, verbose=False)
    from_layer = dots(bgf.pl.markers(cells, "LYZ"))
    assert len(from_layer) == 3
    cells.layers["mine"] = cells.layers.pop("counts")
    np.testing.assert_array_equal(dots(bgf.pl.markers(cells, "LYZ", layer="mine")), from_layer)
    with pytest.raises(bgf.CountsError, match=r"layer 'counts' is not in adata.layers"):
        bgf.pl.markers(cells, "LYZ")


def test_markers_take_the_place_of_the_callers_axes(clustered, tmp_path):
    figure, (_, place) = plt.subplots(1, 2)
    axis = bgf.pl.markers(clustered, ["LYZ", "MS4A1"], ax=place, save=tmp_path / "markers.png")
    assert axis.figure is figure
    assert plt.get_fignums() == [figure.number]
    box = place.get_position()
    assert box.x0 <= axis.get_position().x0 < axis.get_position().x1 <= box.x1
    assert (tmp_path / "markers.png").stat().st_size > 5000


def test_the_evidence_of_each_cluster_is_drawn(clustered):
    axis = bgf.pl.evidence(clustered, show=False)
    table = clustered.uns["bgformer"]["evidence"]
    drawn = axis.collections[0].get_offsets()
    np.testing.assert_allclose(drawn[:, 0], table["links"])
    np.testing.assert_allclose(drawn[:, 1], table["n_markers"])
    names = [text.get_text().split()[0] for text in axis.texts]
    assert names == list(table["cluster"])


def test_the_evidence_of_a_single_cluster_is_drawn(clustered):
    bgf.tl.recluster(clustered, n_clusters=1)
    axis = bgf.pl.evidence(clustered, show=False)
    assert [text.get_text().split()[0] for text in axis.texts] == ["0"]
