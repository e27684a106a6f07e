"""Evidence for clusters: markers from held-out counts, and the nearest neighbour."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.data.counts import with_size_factors
from bgformer.graph.communities import partition
from bgformer.graph.evidence import Profiles, evidence, gap, profiles


def test_each_cluster_has_its_evidence(clustered):
    table = clustered.uns["bgformer"]["evidence"]
    assert list(table["cluster"]) == list(clustered.obs["bgformer"].cat.categories)
    assert list(table["n_cells"]) == list(clustered.obs["bgformer"].value_counts(sort=False))
    assert set(table["nearest"]) <= set(table["cluster"])
    assert (table["nearest"] != table["cluster"]).all()
    assert table["links"].between(0, 1).all()


def test_known_markers_are_named(clustered):
    table = clustered.uns["bgformer"]["evidence"]
    assert table["n_markers"].max() > 5
    named = set(", ".join(table["markers"]).split(", "))
    # of B cells, of NK and cytotoxic T cells, of monocytes and of stem cells
    known = {"CD79A", "CD79B", "MS4A1", "BANK1", "LTB", "GNLY", "NKG7", "GZMB", "S100A8", "FCN1"}
    assert len(named & (known | {"LYZ", "CST7", "PRSS57", "EGFL7"})) >= 3


def test_evidence_is_that_of_the_clusters_after_reclustering(clustered):
    bgf.tl.recluster(clustered, n_clusters=3)
    table = clustered.uns["bgformer"]["evidence"]
    assert list(table["n_cells"]) == list(clustered.obs["bgformer"].value_counts(sort=False))


def test_clusters_beside_the_results_leave_the_evidence_alone(clustered):
    before = clustered.uns["bgformer"]["evidence"].copy()
    bgf.tl.recluster(clustered, n_clusters=3, cluster_name="three")
    pd.testing.assert_frame_equal(clustered.uns["bgformer"]["evidence"], before)


def test_halves_of_one_type_have_fewer_markers_than_two_types(one_type, two_types):
    settings = {"max_steps": 20, "n_clusters": 2, "verbose": False, "copy": True}
    cut, apart = (bgf.tl.cluster(cells, **settings) for cells in (one_type, two_types))
    n_cut, n_apart = (
        found.uns["bgformer"]["evidence"]["n_markers"].max() for found in (cut, apart)
    )
    assert n_cut < n_apart


def test_evidence_survives_a_file(clustered, tmp_path):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(
        again.uns["bgformer"]["evidence"],
        clustered.uns["bgformer"]["evidence"],
        check_index_type=False,
        check_dtype=False,
    )
    bgf.tl.recluster(again)
    pd.testing.assert_series_equal(again.obs["bgformer"], clustered.obs["bgformer"])


@pytest.fixture(scope="module")
def held_out(model, _pbmc700):
    at = _pbmc700.var_names.get_indexer(model.genes_)
    counts = sparse.csr_matrix(_pbmc700.X[:, at], dtype=np.float32)
    data = with_size_factors(counts, np.zeros(700, dtype=np.int64))
    return profiles(model.network_, data, model.anchors_, model.seed)


def test_profiles_hold_each_cell_once(model, held_out):
    assert held_out.cells.sum() == 700
    np.testing.assert_array_equal(
        np.bincount(held_out.nearest, minlength=len(held_out.cells)), held_out.cells
    )
    assert (held_out.detected <= held_out.cells[:, None]).all()


def test_a_cell_has_at_most_10000_held_out_counts(held_out):
    np.testing.assert_allclose(held_out.total.sum(), 700 * 1e4, rtol=0.01)


def test_profiles_are_those_of_the_fit(model, held_out):
    np.testing.assert_array_equal(held_out.total, model.profiles_.total)


def along_a_line(places, noise=0.3, seed=0):
    """Return the profiles of cells at these places of a line, in two halves of counts."""
    rng = np.random.default_rng(seed)
    first, second = (
        np.column_stack([places + noise * rng.normal(size=len(places)), np.zeros(len(places))])
        for _ in range(2)
    )
    nothing = np.zeros(0)
    return Profiles(*4 * [nothing], first, second, *4 * [nothing])


def test_two_types_with_nothing_between_them_have_a_deep_gap():
    side = np.repeat([True, False], 200)
    found = gap(along_a_line(np.where(side, 4.0, 0.0)), side, ~side)
    assert found.depth > 0.9
    assert found.p < 1e-6


def test_one_type_cut_in_two_has_no_gap():
    values = [
        gap(cells, cells.first[:, 0] > 0, cells.first[:, 0] <= 0)
        for seed in range(20)
        for cells in [along_a_line(np.random.default_rng(seed).normal(size=400), seed=seed)]
    ]
    assert np.mean([found.depth for found in values]) < 0.1
    assert min(found.p for found in values) > 0.01


def test_a_rare_type_far_away_has_a_gap():
    side = np.arange(412) < 12
    found = gap(along_a_line(np.where(side, 6.0, 0.0)), side, ~side)
    assert found.depth > 0.9
    assert found.p < 0.01


def test_a_single_cluster_has_no_gap(one_type):
    found = bgf.tl.cluster(one_type, max_steps=20, n_clusters=1, verbose=False, copy=True)
    assert found.uns["bgformer"]["evidence"][["links", "gap", "gap_p"]].isna().all(axis=None)


def test_without_links_the_nearest_cluster_is_the_one_nearest_in_the_latent_space():
    places = np.repeat([0.0, 10.0, 12.0], 40)
    held_out = along_a_line(places)._replace(
        cells=np.full(3, 40.0),
        total=np.ones((3, 2), dtype=np.float32),
        detected=np.ones((3, 2), dtype=np.float32),
        nearest=np.repeat([0, 1, 2], 40),
    )
    found = partition(sparse.csr_matrix(np.eye(3)[np.repeat([0, 1, 2], 40)]), n_clusters=3)
    assert not found.links.any()
    table = evidence(found, held_out, np.array(["one", "two"]))
    of_place = {cluster: place for place, cluster in enumerate(found.anchor_clusters)}
    pairs = table[["cluster", "nearest"]].astype(int).to_numpy()
    assert {of_place[one]: of_place[other] for one, other in pairs} == {0: 1, 1: 2, 2: 1}


def test_types_of_blood_have_gaps(clustered):
    table = clustered.uns["bgformer"]["evidence"]
    assert table["gap"].between(0, 1).all()
    assert table["gap_p"].between(0, 1).all()
    assert (table["gap_p"] < 0.05).mean() > 0.3
