"""Mean expression and marker genes of clusters."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import bgformer as bgf
from bgformer.runtime import block_sizes

TABLES = ["scores", "logfoldchanges", "pct_nz_group", "pct_nz_reference"]
P_VALUES = ["pvals", "pvals_adj"]


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr(block_sizes, "COUNTS", 130)


@pytest.fixture
def normalised(clustered):
    """The clustered cells with log-normalised values in X."""
    cells = clustered.copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    return cells


def test_the_values_are_those_of_scanpy(clustered, normalised):
    without = clustered.copy()
    del without.uns["bgformer"]
    bgf.tl.markers(clustered)
    bgf.tl.markers(without)
    sc.tl.rank_genes_groups(normalised, "bgformer", method="t-test", pts=True)
    for cluster in clustered.obs["bgformer"].cat.categories:
        expected = sc.get.rank_genes_groups_df(normalised, cluster).set_index("names")
        for cells, tables in ((clustered, TABLES), (without, TABLES + P_VALUES)):
            found = sc.get.rank_genes_groups_df(cells, cluster).set_index("names")
            assert set(found.index) == set(clustered.var_names)
            of_genes = expected.loc[found.index]
            np.testing.assert_allclose(found[tables], of_genes[tables], rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the p-values of these clusters are 1")
def test_genes_that_distinguish_a_cluster_come_first(clustered):
    bgf.tl.markers(clustered, "cell_type")
    best, by_t = {}, {}
    for cluster in clustered.obs["cell_type"].cat.categories:
        table = sc.get.rank_genes_groups_df(clustered, cluster)
        best[cluster] = set(table["names"][:10])
        by_t[cluster] = set(table.sort_values("scores", ascending=False)["names"][:10])
    assert best["CD19+ B"] >= {"CD79A", "MS4A1"}
    assert best["CD56+ NK"] >= {"GNLY", "NKG7"}
    assert best["CD14+ Monocyte"] & {"LYZ", "S100A8", "FCGR3A"}
    n_ribosomal, n_by_t = (
        sum(name.startswith(("RPL", "RPS")) for names in of.values() for name in names)
        for of in (best, by_t)
    )
    assert n_ribosomal < n_by_t / 2


def test_scanpys_plots_take_the_markers(clustered, tmp_path):
    bgf.tl.markers(clustered, key_added="of_bgformer")
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    sc.tl.dendrogram(read, "bgformer", use_rep="X_bgformer")
    drawn = sc.pl.rank_genes_groups_dotplot(
        read, n_genes=2, key="of_bgformer", return_fig=True, show=False
    )
    assert drawn is not None


def test_profiles_are_means_over_the_cells(clustered, normalised):
    found = bgf.tl.profiles(clustered)
    clusters = clustered.obs["bgformer"]
    assert list(found.obs_names) == list(clusters.cat.categories)
    assert list(found.var_names) == list(clustered.var_names)
    values = normalised.X.toarray().astype(float)
    for at, cluster in enumerate(found.obs_names):
        own = values[(clusters == cluster).to_numpy()]
        assert found.obs["n_cells"].iloc[at] == len(own)
        np.testing.assert_allclose(found.layers["mean"][at], own.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(
            found.layers["variance"][at], own.var(axis=0, ddof=1), atol=1e-5
        )
        np.testing.assert_allclose(found.layers["detected"][at], (own > 0).mean(axis=0))
        np.testing.assert_allclose(np.expm1(found.X[at]), np.expm1(own).mean(axis=0), rtol=1e-4)


def test_profiles_save_a_second_pass_and_know_their_clusters(clustered, normalised):
    found = bgf.tl.profiles(clustered)
    expected = bgf.tl.markers(clustered, copy=True).uns["rank_genes_groups"]
    of_profiles = bgf.tl.markers(normalised, profiles=found, copy=True)  # X holds no counts
    for name in ("names", "scores", "pvals"):
        np.testing.assert_array_equal(of_profiles.uns["rank_genes_groups"][name], expected[name])
    other = clustered.copy()
    other.obs["bgformer"] = other.obs["bgformer"].to_numpy()[::-1]
    for cells, given in (
        (other, found),
        (clustered[:300].copy(), found),
        (clustered, found[:, :100]),
        (clustered, found[:2]),
        (clustered, clustered),
    ):
        with pytest.raises(ValueError, match="profiles are not those of the clusters 'bgformer'"):
            bgf.tl.markers(cells, profiles=given)


def test_names_and_other_columns_are_used(clustered):
    renamed = clustered.obs["bgformer"].cat.rename_categories({"0": "T/NK", "1": "mono"})
    clustered.obs["bgformer"] = renamed
    bgf.tl.markers(clustered)
    assert clustered.uns["rank_genes_groups"]["names"].dtype.names[:2] == ("T/NK", "mono")
    assert sc.get.rank_genes_groups_df(clustered, "T/NK").shape == (clustered.n_vars, 5)
    clustered.obs["half"] = np.arange(clustered.n_obs) % 2
    assert list(bgf.tl.profiles(clustered, "half").obs_names) == ["0", "1"]
    clustered.obs["half"] = pd.Categorical(clustered.obs["half"].astype(float))
    assert list(bgf.tl.profiles(clustered, "half").obs_names) == ["0.0", "1.0"]


def test_counts_are_found_where_the_clustering_read_them(cells, tmp_path):
    expected = cells.copy()
    expected.obs["half"] = pd.Categorical(np.where(np.arange(150) % 2, "a", "b"))
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.log1p()
    bgf.tl.cluster(cells, layer="counts", max_steps=3, n_clusters=3, verbose=False)
    bgf.tl.subcluster(cells, "0", n_clusters=2, verbose=False)
    sizes = bgf.tl.profiles(cells).obs["n_cells"]
    assert list(sizes) == list(cells.obs["bgformer"].value_counts()[sizes.index])
    assert "0.1" in bgf.tl.profiles(cells, "bgformer_sub").obs_names
    marked = bgf.tl.markers(cells, copy=True)
    assert marked.uns["rank_genes_groups"]["params"]["layer"] == "counts"
    cells.obs["half"] = expected.obs["half"]
    with pytest.raises(bgf.CountsError, match="layer 'counts' looks like counts"):
        bgf.tl.profiles(cells, "half")
    in_memory = bgf.tl.profiles(cells, "half", layer="counts")
    np.testing.assert_array_equal(in_memory.X, bgf.tl.profiles(expected, "half").X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    np.testing.assert_array_equal(bgf.tl.profiles(backed, "half", layer="counts").X, in_memory.X)
    backed.file.close()


def test_a_cluster_of_one_cell_is_left_out_and_is_one_of_the_others(clustered, normalised):
    column = clustered.obs["bgformer"].astype(object).to_numpy(copy=True)
    column[np.flatnonzero(column == "1")[0]] = "alone"
    clustered.obs["given"] = normalised.obs["given"] = pd.Categorical(column)
    with pytest.warns(UserWarning, match="a single cell have no markers.*: 'alone'") as warned:
        bgf.tl.markers(clustered, "given")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    others = [name for name in clustered.obs["given"].cat.categories if name != "alone"]
    assert list(clustered.uns["rank_genes_groups"]["names"].dtype.names) == others
    sc.tl.rank_genes_groups(normalised, "given", groups=others, method="t-test", pts=True)
    for cluster in others:
        found = sc.get.rank_genes_groups_df(clustered, cluster).set_index("names")
        expected = sc.get.rank_genes_groups_df(normalised, cluster).set_index("names")
        expected = expected.loc[found.index]
        np.testing.assert_allclose(found[TABLES], expected[TABLES], rtol=1e-3, atol=1e-5)


def test_of_many_clusters_of_one_cell_a_few_are_named(cells):
    cells.obs["given"] = ["a", "b"] * 60 + [f"c{cell}" for cell in range(10, 40)]
    with pytest.warns(UserWarning, match=r": 'c10', .*'c19' and 20 more\."):
        bgf.tl.markers(cells, "given")


def test_what_cannot_be_tested_is_refused(clustered, unchanged):
    n = clustered.n_obs
    clustered.obs["n_counts"] = np.asarray(clustered.X.sum(axis=1), dtype=np.float32)
    clustered.obs["one"] = "all"
    clustered.obs["alone"] = pd.Categorical(["lonely"] + ["others"] * (n - 1))
    clustered.obs["missing"] = pd.Categorical([None] + ["a", "b"] * (n // 2))[:n]
    clustered.uns["mine"] = {"params": {"method": "wilcoxon"}}
    cases = [
        ({"cluster_name": "nope"}, "cluster_name 'nope' is not a column of adata.obs"),
        ({"cluster_name": 1}, "cluster_name is 1; it must be the name of a column"),
        ({"cluster_name": "n_counts"}, "'n_counts' of adata.obs holds numbers, not clusters"),
        ({"cluster_name": "one"}, "all cells are in one cluster, 'all'"),
        ({"cluster_name": "alone"}, "cluster 'lonely' has a single cell"),
        ({"cluster_name": "missing"}, "1 of 700 cells have no cluster in column 'missing'"),
        ({"key_added": "mine"}, "'mine' that is not from bgformer"),
    ]
    with unchanged(clustered):
        for arguments, message in cases:
            with pytest.raises(ValueError, match=message):
                bgf.tl.markers(clustered, **arguments)
    bgf.tl.markers(clustered)
    bgf.tl.markers(clustered, key_added="rank_genes_groups")  # replaces its own
    found = bgf.tl.profiles(clustered)
    with pytest.raises(ValueError, match="give layer or profiles, not both"):
        bgf.tl.markers(clustered, profiles=found, layer="counts")
    many = anndata.AnnData(sparse.csr_matrix(np.ones((1001, 3), dtype=np.float32)))
    many.obs["cell"] = many.obs_names
    with pytest.raises(ValueError, match=r"'cell' of .* has 1001 diff"):
        bgf.tl.markers(many, "cell")
    with pytest.raises(TypeError, match="adata is a str"):
        bgf.tl.profiles("cells.h5ad")


def test_genes_that_do_not_vary_have_finite_values(tmp_path):
    counts = np.repeat([[1, 0, 5, 0, 4], [0, 1, 5, 0, 4]], 30, axis=0)
    counts[::2, 2:] = [[4, 1, 4]]
    adata = anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["half"] = np.repeat(["a", "b"], 30)
    bgf.tl.markers(adata, "half")
    table = sc.get.rank_genes_groups_df(adata, "a").set_index("names")
    assert np.isfinite(table).all(axis=None)
    assert table.index[0] == "0"
    assert table.index[-1] == "1"
    assert list(table.loc[["2", "3", "4"], "scores"]) == [0, 0, 0]
