"""P-values of marker genes from counts that did not find the clusters."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.stats import binom

import bgformer as bgf
from bgformer.data.moments import HeldOut
from bgformer.graph.marker_tests import held_out_p
from bgformer.runtime import block_sizes

FEW = "ignore:the p-values of these clusters are 1"


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr(block_sizes, "COUNTS", 130)


@pytest.fixture(scope="module")
def one_population():
    """300 cells whose genes are independent, and whose total counts differ; two clusters."""
    rng = np.random.default_rng(0)
    mean, depth = rng.gamma(0.6, 2, 400) + 0.05, rng.lognormal(0, 0.6, 300)
    cells = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(depth[:, None] * mean), dtype=np.float32)
    )
    bgf.tl.cluster(cells, n_clusters=2, max_steps=10, verbose=False)
    return cells


def p_of(cells, column="bgformer", **arguments):
    """Return the p-values of `markers`, genes x clusters, in the order of the genes."""
    marked = bgf.tl.markers(cells, column, copy=True, **arguments).uns["rank_genes_groups"]
    clusters = marked["names"].dtype.names
    columns = {c: pd.Series(marked["pvals"][c], index=marked["names"][c]) for c in clusters}
    return pd.DataFrame(columns).loc[cells.var_names], marked["params"]


def without_results(cells):
    """Return cells of which only clusters are known."""
    return anndata.AnnData(cells.X, obs=cells.obs, var=cells.var)


def test_halves_of_one_population_have_no_markers(one_population):
    p, params = p_of(one_population)
    plain, plain_params = p_of(without_results(one_population))
    assert params["held_out"]
    assert not plain_params["held_out"]
    assert (plain["0"] < 0.05).mean() > 0.1
    assert (p["0"] < 0.05).mean() <= 0.05
    assert (p["0"] < 0.001).mean() <= 0.005


@pytest.mark.filterwarnings(FEW)
def test_types_have_the_markers_that_they_had(clustered):
    bgf.tl.markers(clustered, "cell_type", key_added="found")
    b, nk = (
        sc.get.rank_genes_groups_df(clustered, name, key="found").set_index("names")["pvals_adj"]
        for name in ("CD19+ B", "CD56+ NK")
    )
    assert (b[["CD79A", "MS4A1"]] < 1e-10).all()
    assert (nk[["GNLY", "NKG7"]] < 1e-10).all()


def test_any_clusters_of_cells_with_results_are_tested_so(clustered):
    expected, _ = p_of(clustered)
    named = clustered.copy()
    named.obs["mine"] = named.obs["bgformer"].cat.rename_categories(lambda name: f"type {name}")
    found, params = p_of(named, "mine")
    assert params["held_out"]
    np.testing.assert_array_equal(found, expected)
    bgf.tl.subcluster(named, "0", n_clusters=2, verbose=False)
    of_parts, params = p_of(named, "bgformer_sub")
    assert params["held_out"]
    assert list(of_parts.columns[:2]) == ["0.0", "0.1"]
    other = clustered.copy()
    for place, key in (("obsm", "X_bgformer"), ("obsm", "bgformer_anchors"), ("uns", "bgformer")):
        held = getattr(other, place)
        held[key.replace("bgformer", "other")] = held.pop(key)
    other.obs["other"] = other.obs["bgformer"]
    found, params = p_of(other)
    assert params["held_out"]
    np.testing.assert_array_equal(found, expected)


def test_groups_that_are_not_of_the_counts_are_compared_by_a_t_test(clustered):
    rng = np.random.default_rng(0)
    clustered.obs["donor"] = rng.choice(["a", "b"], 700)
    clustered.obs["treated"] = rng.random(700) < 0.1
    for column in ("donor", "treated"):
        p, params = p_of(clustered, column)
        expected, _ = p_of(without_results(clustered), column)
        assert not params["held_out"]
        np.testing.assert_array_equal(p, expected)


def test_results_of_other_cells_are_not_used(clustered):
    clustered.obsm["X_bgformer"] = clustered.obsm["X_bgformer"][::-1] + 1
    _, params = p_of(clustered)
    assert not params["held_out"]


def test_fewer_genes_and_cells_are_enough(clustered):
    assert p_of(clustered[:, 20:].copy())[1]["held_out"]
    assert not p_of(clustered[:, :100].copy())[1]["held_out"]
    two = clustered[clustered.obs["bgformer"].isin(["0", "1"])].copy()
    p, params = p_of(two)
    assert params["held_out"]
    assert (p.min() < 1e-6).all()


def test_they_are_the_same_on_disk(clustered, tmp_path):
    expected, _ = p_of(clustered)
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    found, params = p_of(backed)
    backed.file.close()
    assert params["held_out"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.filterwarnings(FEW)
def test_unassigned_cells_can_be_tested(predicted):
    p, params = p_of(predicted)
    assert params["held_out"]
    assert p.loc["CD79A", "unassigned"] < 1e-10


def test_clusters_that_half_of_the_counts_do_not_find_have_p_values_of_1(clustered):
    rng = np.random.default_rng(0)
    column = clustered.obs["bgformer"].astype(object).to_numpy(copy=True)
    column[rng.permutation(700)[:3]] = "few"
    clustered.obs["given"] = pd.Categorical(column)
    with pytest.warns(UserWarning, match="p-values of these clusters are 1.*: 'few'") as warned:
        p, _ = p_of(clustered, "given")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert (p["few"] == 1).all()
    assert p["0"].min() < 1e-6


def test_counts_of_poisson_have_the_p_values_of_the_binomial_test():
    rng = np.random.default_rng(0)
    totals, n = np.array([3000.0, 1000.0, 2000.0]), np.array([30, 10, 20])
    counts = rng.poisson(totals[:, None] * np.array([0.001, 0.01, 0.1, 0.0, 0.0002]))
    counts[2] = [12, 20, 90, 0, 0]
    spread = counts**2 / totals[:, None]  # of cells that are all alike
    p = held_out_p(HeldOut(n, totals, counts.astype(float), spread))
    of_all = counts.sum(axis=0)
    for cluster, share in enumerate(totals / totals.sum()):
        low = binom.cdf(counts[cluster], of_all, share)
        high = binom.sf(counts[cluster] - 1, of_all, share)
        is_high = counts[cluster] > share * of_all
        expected = np.minimum(1, 2 * np.where(is_high, high, low))
        np.testing.assert_allclose(p[cluster], np.where(of_all > 0, expected, 1), rtol=1e-6)


def test_a_gene_that_varies_more_needs_a_greater_difference():
    even = np.repeat([8, 5], 20)
    uneven = even + np.tile([-5, 5], 20)
    counts = np.column_stack([even, uneven, 100 - even - uneven])
    sums = HeldOut.none(2, 3)
    sums.add(sparse.csr_matrix(counts, dtype=np.float32), np.repeat([0, 1], 20))
    p = held_out_p(sums)[0]
    assert p[0] < 1e-3
    assert p[1] > 10 * p[0]
