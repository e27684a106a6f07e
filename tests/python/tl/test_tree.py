"""How clusters split as the resolution grows."""

import itertools

import numpy as np
import pandas as pd
import pytest

import bgformer as bgf

WANTED = [0.3, 1, 3, 5]


def at(nodes, resolution):
    return nodes[nodes["resolution"] == resolution].reset_index(drop=True)


def test_the_clusters_and_their_evidence_are_those_of_recluster(clustered, unchanged):
    with unchanged(clustered):
        nodes, _ = bgf.tl.tree(clustered, WANTED)
    assert list(nodes["resolution"].unique()) == WANTED
    for resolution in WANTED:
        now = bgf.tl.recluster(clustered, resolution=resolution, copy=True)
        here = at(nodes, resolution)
        table = now.uns["bgformer"]["evidence"]
        pd.testing.assert_frame_equal(here[list(table)], table)
        assert set(here["n_clusters"]) == {now.uns["bgformer"]["n_clusters"]}
        sizes = now.obs["bgformer"].value_counts()
        assert sizes[here["cluster"]].tolist() == here["n_cells"].tolist()


def test_edges_are_the_cells_that_clusters_share(clustered):
    nodes, edges = bgf.tl.tree(clustered, WANTED)
    for low, high in itertools.pairwise(WANTED):
        before, now = (
            bgf.tl.recluster(clustered, resolution=one, copy=True).obs["bgformer"].astype(str)
            for one in (low, high)
        )
        shared = pd.crosstab(before, now)
        here = edges[edges["resolution"] == high]
        assert set(here["resolution_from"]) == {low}
        found = here.pivot(index="from", columns="to", values="n_cells").fillna(0)
        assert (found == shared.loc[found.index, found.columns]).all(axis=None)
        assert here["n_cells"].sum() == clustered.n_obs
        assert here.groupby("to")["share"].sum().to_numpy() == pytest.approx(1)
        parents = at(nodes, high).set_index("cluster")["parent"]
        assert parents.to_dict() == shared.idxmax().to_dict()
    assert at(nodes, WANTED[0])["parent"].isna().all()


def test_splits_without_evidence_are_told_from_others(one_type, two_types):
    single = bgf.tl.cluster(one_type, resolution=3, max_steps=20, verbose=False, copy=True)
    two = bgf.tl.cluster(two_types, max_steps=20, verbose=False, copy=True)
    cut = bgf.tl.tree(single, [3]).nodes
    assert cut.loc[~cut["supported"], "n_cells"].sum() > single.n_obs / 2
    assert (cut["links"] >= 0.16)[~cut["supported"]].all()
    assert (cut["links"] < 0.16)[cut["supported"]].all()  # there is no gap
    apart = bgf.tl.tree(two, [0.1]).nodes
    assert len(apart) == 2
    assert apart["supported"].all()
    assert bgf.tl.tree(two, [0.001]).nodes["supported"].all()


def test_one_resolution_is_a_tree_without_edges(clustered):
    nodes, edges = bgf.tl.tree(clustered, [1, 1.0])
    assert nodes["cluster"].is_unique
    assert len(edges) == 0
    assert list(edges) == list(bgf.tl.tree(clustered, WANTED).edges)


def test_of_a_subset_the_tree_is_that_of_its_cells(clustered):
    some = clustered[clustered.obs["bgformer"].isin(["0", "2"])].copy()
    nodes, edges = bgf.tl.tree(some, [0.5, 3])
    bgf.tl.recluster(some, resolution=3)
    table = some.uns["bgformer"]["evidence"]
    pd.testing.assert_frame_equal(at(nodes, 3)[list(table)], table)
    assert edges["n_cells"].sum() == some.n_obs


def test_unassigned_cells_are_in_no_cluster(predicted):
    n_assigned = (predicted.obs["bgformer"] != "unassigned").sum()
    nodes, edges = bgf.tl.tree(predicted, [0.5, 3])
    assert nodes.groupby("resolution")["n_cells"].sum().tolist() == [n_assigned] * 2
    assert edges["n_cells"].sum() == n_assigned
    bgf.tl.recluster(predicted, resolution=3)
    table = predicted.uns["bgformer"]["evidence"]
    pd.testing.assert_frame_equal(at(nodes, 3)[list(table)], table)


def test_of_unassigned_cells_alone_there_is_no_tree(predicted):
    apart = predicted[predicted.obs["bgformer"] == "unassigned"].copy()
    message = f"none of the {apart.n_obs} cells is in a cluster"
    with pytest.raises(ValueError, match=message):
        bgf.tl.tree(apart, [0.5, 3])
    with pytest.raises(ValueError, match=message):
        bgf.pl.tree(apart)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "resolutions is empty; give at least one resolution"),
        ([1, 0], "resolution is 0; it must be a number above 0"),
        (1.0, "resolutions is 1.0; it must be a list of numbers above 0"),
        (np.array([1, np.nan]), "resolution is .*nan.*; it must be a number above 0"),
    ],
)
def test_resolutions_that_cannot_be_meant(clustered, wanted, message):
    with pytest.raises(ValueError, match=message):
        bgf.tl.tree(clustered, wanted)


def test_a_tree_without_results(cells):
    with pytest.raises(ValueError, match="adata has no results named 'bgformer'"):
        bgf.tl.tree(cells)
