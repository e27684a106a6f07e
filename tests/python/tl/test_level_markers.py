"""Markers at many resolutions, from one pass, are those of a pass at each."""

import numpy as np
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.data.moments import Block, HeldOut, Sums
from bgformer.data.source import opened
from bgformer.graph.levels import levels
from bgformer.runtime import block_sizes
from bgformer.store.files import read_results
from bgformer.tl import level_markers as module
from bgformer.tl.level_markers import level_markers

RESOLUTIONS = (0.05, 0.4, 0.8, 0.9, 2.0, 4.0)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr(block_sizes, "COUNTS", 130)


def found_levels(cells):
    stored = cells.uns["bgformer"]
    weights = sparse.csr_matrix(cells.obsm["bgformer_anchors"])
    return levels(weights, RESOLUTIONS, int(stored["seed"]), links=stored["links"])


def assert_is_that_of_markers(table, marked, n_genes=10):
    names, p = marked.uns["rank_genes_groups"]["names"], marked.uns["rank_genes_groups"]["pvals"]
    for cluster, name in enumerate(marked.obs["bgformer"].cat.categories):
        own = table["cluster"] == cluster
        assert list(marked.var_names[table["gene"][own]]) == list(names[name][:n_genes])
        np.testing.assert_allclose(table["p"][own], p[name][:n_genes], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:the p-values of these clusters are 1")
def test_markers_of_levels_are_those_after_reclustering(clustered):
    tables = level_markers(clustered, clustered, "bgformer", found_levels(clustered))
    for resolution, table in zip(RESOLUTIONS, tables, strict=True):
        again = bgf.tl.recluster(clustered, resolution=resolution, copy=True)
        marked = bgf.tl.markers(again, copy=True)
        names = marked.uns["rank_genes_groups"]["names"]
        for cluster, name in enumerate(again.obs["bgformer"].cat.categories):
            genes = clustered.var_names[table["gene"][table["cluster"] == cluster]]
            assert list(genes) == list(names[name][:10])


@pytest.mark.filterwarnings("ignore:the p-values of these clusters are 1")
def test_with_few_groups_most_markers_are_the_same(clustered, monkeypatch):
    found = found_levels(clustered)
    expected = level_markers(clustered, clustered, "bgformer", found)
    monkeypatch.setattr(module, "_MOST_GROUPS", 30)
    exact = len(found) - 1
    tables = level_markers(clustered, clustered, "bgformer", found, exact)
    again = bgf.tl.recluster(clustered, resolution=RESOLUTIONS[exact], copy=True)
    assert_is_that_of_markers(tables[exact], bgf.tl.markers(again, copy=True))
    for table, exact in zip(tables[:4], expected, strict=False):
        shared = [
            len(np.intersect1d(*(one["gene"][one["cluster"] == k] for one in (table, exact))))
            for k in np.unique(exact["cluster"])
        ]
        assert np.mean(shared) >= 7


def test_unassigned_cells_are_of_no_cluster(predicted):
    weights = sparse.csr_matrix(predicted.obsm["bgformer_anchors"])
    unassigned = (predicted.obs["bgformer"] == "unassigned").to_numpy()
    found = levels(weights, (0.05, 2.0), 0, unassigned=unassigned)
    tables = level_markers(predicted, predicted, "bgformer", found)
    for level, table in zip(found, tables, strict=True):
        assert set(table["cluster"]) == set(np.flatnonzero(level.n_cells > 1))
        for cluster in np.unique(table["cluster"]):
            own = (level.labels == cluster) & ~unassigned
            rows = table["cluster"] == cluster
            share = np.asarray((predicted.X[own][:, table["gene"][rows]] > 0).mean(axis=0)).ravel()
            np.testing.assert_allclose(table["detected"][rows], share)


def test_a_level_with_one_cluster_has_no_markers(clustered):
    (level, *_) = found_levels(clustered)
    one = level._replace(
        labels=np.zeros_like(level.labels), anchor_clusters=np.zeros_like(level.anchor_clusters)
    )
    (table,) = level_markers(clustered, clustered, "bgformer", [one])
    assert all(len(values) == 0 for values in table.values())


def test_files_have_the_same_markers(clustered, tmp_path):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    found = found_levels(clustered)
    expected = level_markers(clustered, clustered, "bgformer", found)
    with opened(tmp_path / "cells.h5ad") as cells:
        tables = level_markers(read_results(cells, "bgformer"), cells, "bgformer", found)
    for table, other in zip(tables, expected, strict=True):
        np.testing.assert_array_equal(table["gene"], other["gene"])


def test_merged_sums_are_those_of_the_clusters(pbmc700):
    rng = np.random.default_rng(0)
    groups, into = rng.integers(0, 12, 700), rng.integers(0, 4, 12)
    counts = sparse.csr_matrix(pbmc700.X, dtype=np.float32)
    of_groups, of_clusters = Sums.none(12, 765), Sums.none(4, 765)
    held, held_clusters = HeldOut.none(12, 765), HeldOut.none(4, 765)
    of_groups.add(Block.of(counts), groups)
    of_clusters.add(Block.of(counts), into[groups])
    held.add(counts, groups)
    held_clusters.add(counts, into[groups])
    for merged, expected in (
        *zip(of_groups.merged(into, 4), of_clusters, strict=True),
        *zip(of_groups.merged(into, 4).moments, of_clusters.moments, strict=True),
        *zip(held.merged(into, 4), held_clusters, strict=True),
    ):
        np.testing.assert_allclose(merged, expected, rtol=1e-10, atol=1e-12)
