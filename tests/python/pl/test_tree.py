"""The plot of the cluster tree."""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection

import bgformer as bgf

WANTED = [0.1, 0.3, 1, 3, 5]


def circles(axis):
    """Return the circles of clusters: their x and row, fill colours and rims, as drawn."""
    axis.figure.canvas.draw()
    points = next(c for c in axis.collections if isinstance(c, PathCollection))
    fills, rims = points.get_facecolors(), points.get_edgecolors()
    return points.get_offsets().data, fills, rims, np.sqrt(points.get_sizes())


def said(axis):
    return [text.get_text().replace("\n", " ") for text in axis.get_legend().get_texts()]


def drawn_nodes(adata, wanted=WANTED):
    """Return the clusters of resolutions that differ from the one before, and their rows."""
    nodes = bgf.tl.tree(adata, wanted).nodes
    names = [tuple(nodes.loc[nodes["resolution"] == r, "n_cells"]) for r in wanted]
    rows = [i for i, one in enumerate(names) if i == 0 or names[i - 1] != one]
    kept = nodes[nodes["resolution"].isin([wanted[i] for i in rows])]
    return kept.assign(row=kept["resolution"].map({wanted[r]: i for i, r in enumerate(rows)}))


def test_each_cluster_is_a_circle_in_the_row_of_its_resolution(clustered, unchanged):
    with unchanged(clustered):
        axis = bgf.pl.tree(clustered, WANTED)
    places, _, _, diameters = circles(axis)
    nodes = drawn_nodes(clustered)
    np.testing.assert_array_equal(places[:, 1], nodes["row"])
    numbers = [t for t in axis.texts if t.get_text().isdecimal()]
    assert [t.get_text() for t in numbers] == nodes["cluster"].tolist()
    order = np.argsort(nodes["n_cells"].to_numpy(), kind="stable")
    assert (np.diff(diameters[order]) >= 0).all()
    left = [label.get_text() for label in axis.get_yticklabels()]
    assert left == ["0.1-0.3", "1", "3", "5"]
    right = [label.get_text() for label in axis.child_axes[0].get_yticklabels()]
    assert right == [str(n) for n in nodes.groupby("row")["n_clusters"].first()]


@pytest.mark.parametrize("size", [None, (7, 4.5), (5, 3)])
def test_circles_do_not_overlap_and_hold_their_numbers(clustered, size):
    ax = None if size is None else plt.subplots(figsize=size)[1]
    axis = bgf.pl.tree(clustered, ax=ax)
    places, _, _, diameters = circles(axis)
    pixels = axis.figure.dpi / 72
    at, radii = axis.transData.transform(places), diameters * pixels / 2
    apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + np.eye(len(at)) * 1e6
    assert (apart >= radii[:, None] + radii).all()
    shown = [t for t in axis.texts if t.get_visible() and t.get_text().isdecimal()]
    assert shown
    by_place = {tuple(place): radius for place, radius in zip(places, radii, strict=True)}
    for text in shown:
        box = text.get_window_extent()
        assert box.width <= 2.1 * by_place[text.get_position()]
    legend = axis.get_legend().get_window_extent()
    assert legend.x0 > (at[:, 0] + radii).max()
    assert legend.x1 <= axis.figure.bbox.x1 + 1


def test_clusters_without_evidence_are_hollow(clustered):
    axis = bgf.pl.tree(clustered, WANTED)
    nodes = drawn_nodes(clustered)
    assert 0 < (~nodes["supported"]).sum() < len(nodes)
    hollow = (circles(axis)[1] == 1).all(axis=1)
    np.testing.assert_array_equal(hollow, ~nodes["supported"])
    assert "split without evidence" in said(axis)
    assert "split without evidence" not in said(bgf.pl.tree(clustered, [0.1, 0.3]))


def test_colours_are_those_of_the_clusters_and_passed_on(clustered):
    clustered.uns["bgformer_colors"][0] = "#123456"
    resolution = float(clustered.uns["bgformer"]["resolution"])
    wanted = [0.3, resolution, 3]
    axis = bgf.pl.tree(clustered, wanted)
    _, fills, rims, _ = circles(axis)
    nodes = drawn_nodes(clustered, wanted)
    colour = np.where(nodes["supported"].to_numpy()[:, None], fills, rims)
    nodes = nodes.assign(colour=[colors.to_hex(one) for one in colour])
    stored = nodes[nodes["resolution"] == resolution].set_index("cluster")["colour"]
    names = clustered.obs["bgformer"].cat.categories
    own = dict(zip(names, clustered.uns["bgformer_colors"], strict=True))
    assert stored.to_dict() == {name: str(colour).lower() for name, colour in own.items()}
    later = nodes[nodes["resolution"] == 3]
    largest = later.sort_values("n_cells").groupby("parent").tail(1)
    kept = [stored[p] == c for p, c in zip(largest["parent"], largest["colour"], strict=True)]
    assert np.mean(kept) > 0.8
    assert later["colour"].is_unique


def test_the_row_of_the_stored_clusters_is_marked(clustered):
    bgf.tl.recluster(clustered, resolution=1)
    assert "stored clusters" in said(bgf.pl.tree(clustered, WANTED))
    assert "stored clusters" not in said(bgf.pl.tree(clustered, [2, 3]))
    bgf.tl.recluster(clustered, n_clusters=3)
    assert not [text for text in said(bgf.pl.tree(clustered, WANTED)) if "stored" in text]


def test_a_row_of_which_splits_were_refused_says_so(one_type):
    with pytest.warns(UserWarning, match="one cluster"):
        single = bgf.tl.cluster(one_type, max_steps=20, verbose=False, copy=True)
    assert "stored resolution (1 clusters)" in said(bgf.pl.tree(single, [0.8, 3]))


def test_one_cluster_of_few_cells_can_be_drawn(clustered, tmp_path):
    bgf.pl.tree(clustered[:5].copy(), save=tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 5000


def test_a_tree_is_drawn_where_it_is_told_to(clustered, tmp_path):
    _, (one, other) = plt.subplots(1, 2, figsize=(14, 5))
    assert bgf.pl.tree(clustered, ax=other, save=tmp_path / "tree.pdf") is other
    assert not one.collections
    assert (tmp_path / "tree.pdf").stat().st_size > 5000
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        bgf.pl.tree(clustered, save=tmp_path / "nowhere" / "tree.png")
    with pytest.raises(ValueError, match="resolutions is empty"):
        bgf.pl.tree(clustered, [])
