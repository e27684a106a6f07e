"""The dot plot of marker genes."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

import bgformer as bgf


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
    few = clustered[clustered.obs["bgformer"] != "0"].copy()
    clusters = labels(bgf.pl.markers(few, "LYZ"))[0]
    assert clusters == [str(i) for i in range(1, len(clusters) + 1)]
    few.obs["bgformer"] = few.obs["bgformer"].cat.set_categories(["0", *clusters])
    assert labels(bgf.pl.markers(few, "LYZ"))[0] == clusters
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


def test_the_names_of_the_genes_are_on_the_page(clustered):
    clustered.var_names = [
        "a_gene_with_a_long_name" if n == "LYZ" else n for n in clustered.var_names
    ]
    axis = bgf.pl.markers(clustered, ["a_gene_with_a_long_name", "MS4A1"])
    page = axis.figure.bbox
    axis.figure.canvas.draw()
    for text in [*axis.get_xticklabels(), *axis.get_yticklabels(), axis.yaxis.label]:
        box = text.get_window_extent()
        assert page.x0 <= box.x0
        assert page.y0 <= box.y0
        assert box.x1 <= page.x1
