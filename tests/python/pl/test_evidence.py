"""The plot of the gaps between clusters."""

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

import bgformer as bgf


def names(axis):
    return [text.get_text() for text in axis.texts if isinstance(text, Annotation)]


@pytest.fixture
def divided(clustered):
    bgf.tl.subcluster(clustered, "0", n_clusters=3, verbose=False)
    return clustered


def test_the_evidence_of_each_cluster_is_drawn(clustered):
    axis = bgf.pl.evidence(clustered, show=False)
    table = clustered.uns["bgformer"]["evidence"].sort_values("n_cells", ascending=False)
    drawn = axis.collections[0].get_offsets()
    np.testing.assert_allclose(drawn[:, 0], table["links"])
    np.testing.assert_allclose(drawn[:, 1], table["n_markers"])
    share = np.maximum(table["n_cells"] / table["n_cells"].max(), 0.05)
    np.testing.assert_allclose(axis.collections[0].get_sizes() / 300, share)
    nearest = dict(zip(table["cluster"], table["nearest"], strict=True))
    expected = {
        f"{one} > {other}" if nearest[other] != one else frozenset([one, other])
        for one, other in nearest.items()
    }
    # two that are nearest to each other share a name
    found = {frozenset(name.split(" <> ")) if "<>" in name else name for name in names(axis)}
    assert found == expected


@pytest.mark.parametrize("resolution", [1, 3])
def test_names_cover_neither_circles_nor_each_other(clustered, resolution):
    bgf.tl.recluster(clustered, resolution=resolution)
    axis = bgf.pl.evidence(clustered, show=False)
    axis.figure.canvas.draw()
    texts = [text for text in axis.texts if isinstance(text, Annotation)]
    boxes = [Text.get_window_extent(text) for text in texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        for at in axis.transData.transform(axis.collections[0].get_offsets()):
            assert not box.contains(*at)
        assert axis.figure.bbox.containsx(box.x0)
        assert axis.figure.bbox.containsx(box.x1)


def test_the_evidence_of_a_single_cluster_is_drawn(clustered):
    bgf.tl.recluster(clustered, n_clusters=1)
    assert names(bgf.pl.evidence(clustered, show=False)) == ["0"]


def test_of_a_subset_its_own_clusters_and_numbers_of_cells_are_drawn(clustered):
    some = clustered[clustered.obs["bgformer"].isin(["0", "7"])].copy()
    some.obs["bgformer"] = some.obs["bgformer"].cat.rename_categories({"0": "T cells"})
    n_cells = some.obs["bgformer"].value_counts()
    axis = bgf.pl.evidence(some, show=False)
    assert [name.split(" >")[0] for name in names(axis)] == ["T cells", "7"]
    sizes = axis.collections[0].get_sizes()
    assert sizes[1] / sizes[0] == pytest.approx(max(n_cells["7"] / n_cells["T cells"], 0.05))


def test_unassigned_cells_are_of_no_cluster(predicted, divided):
    apart = predicted.obs["bgformer"] == "unassigned"
    some = predicted[apart | (predicted.obs["bgformer"] == "0")].copy()
    table = bgf.pl.evidence(some, show=False).collections[0].get_offsets()
    assert len(table) == 1
    message = f"none of the {apart.sum()} cells is in a cluster that 'bgformer' has evidence for"
    with pytest.raises(ValueError, match=message):
        bgf.pl.evidence(predicted[apart].copy())
    others = divided[divided.obs["bgformer"] == "1"].copy()
    with pytest.raises(ValueError, match="is in a cluster that 'bgformer_sub' has evidence for"):
        bgf.pl.evidence(others, key_added="bgformer_sub")


def test_the_evidence_of_subclusters_is_drawn(divided):
    axis = bgf.pl.evidence(divided, key_added="bgformer_sub", show=False)
    table = divided.uns["bgformer_sub"]["evidence"].sort_values("n_cells", ascending=False)
    np.testing.assert_allclose(axis.collections[0].get_offsets()[:, 0], table["links"])
    assert {name.split()[0] for name in names(axis)} <= {"0.0", "0.1", "0.2"}
    part = divided[divided.obs["bgformer_sub"] == "0.1"].copy()
    axis = bgf.pl.evidence(part, key_added="bgformer_sub", show=False)
    assert len(axis.collections[0].get_offsets()) == 1


def test_subclusters_without_evidence(clustered):
    with pytest.warns(UserWarning, match="is not divided"):
        bgf.tl.subcluster(clustered, "0", n_clusters=1, verbose=False)
    with pytest.raises(ValueError, match="'bgformer_sub' has no evidence, because no cluster was"):
        bgf.pl.evidence(clustered, key_added="bgformer_sub")
