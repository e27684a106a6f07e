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
