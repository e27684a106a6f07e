"""The plot of the gaps between clusters."""

import numpy as np

import bgformer as bgf


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


def test_of_a_subset_its_own_clusters_and_numbers_of_cells_are_drawn(clustered):
    whole = bgf.pl.evidence(clustered, show=False).collections[0].get_sizes()
    some = clustered[clustered.obs["bgformer"].isin(["0", "2"])].copy()
    some.obs["bgformer"] = some.obs["bgformer"].cat.rename_categories({"0": "T cells"})
    axis = bgf.pl.evidence(some, show=False)
    assert [text.get_text().split()[0] for text in axis.texts] == ["T", "2"]
    sizes = axis.collections[0].get_sizes()
    assert len(sizes) == 2
    assert sizes[0] > whole[0]  # a larger share of fewer cells
