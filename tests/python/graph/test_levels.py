"""Clusters at many resolutions are those that reclustering gives at each."""

import numpy as np
import pandas as pd
from scipy import sparse

import bgformer as bgf
from bgformer.graph.communities import partition_of_assigned
from bgformer.graph.evidence import Profiles, evidence
from bgformer.graph.levels import RESOLUTIONS, levels


def test_levels_are_the_clusters_of_each_resolution(clustered):
    stored, weights = clustered.uns["bgformer"], clustered.obsm["bgformer_anchors"]
    weights, links = sparse.csr_matrix(weights), sparse.csr_matrix(stored["links"])
    found = levels(weights, RESOLUTIONS, int(stored["seed"]), links=links)
    assert [level.resolution for level in found] == list(RESOLUTIONS)
    assert found[0].n_clusters < found[-1].n_clusters
    for level in found:
        now = bgf.tl.recluster(clustered, resolution=level.resolution, copy=True)
        np.testing.assert_array_equal(level.labels, now.obs["bgformer"].astype(int))
        np.testing.assert_array_equal(
            level.anchor_clusters, now.uns["bgformer"]["anchor_clusters"]
        )


def test_unassigned_cells_shape_no_level(clustered):
    weights = sparse.csr_matrix(clustered.obsm["bgformer_anchors"])
    unassigned = np.arange(weights.shape[0]) % 7 == 0
    for level in levels(weights, (0.3, 2.0), 0, unassigned=unassigned):
        expected = partition_of_assigned(weights, unassigned, level.resolution, None, seed=0)
        np.testing.assert_array_equal(level.labels, expected.labels)
        np.testing.assert_array_equal(level.anchor_clusters, expected.anchor_clusters)


def test_levels_have_the_evidence_of_their_clusters(clustered):
    stored = clustered.uns["bgformer"]
    weights = sparse.csr_matrix(clustered.obsm["bgformer_anchors"])
    level = levels(weights, (2.0,), int(stored["seed"]))[0]
    table = evidence(level, Profiles(**stored["profiles"]), np.asarray(stored["genes"]))
    bgf.tl.recluster(clustered, resolution=2.0)
    pd.testing.assert_frame_equal(table, clustered.uns["bgformer"]["evidence"])
