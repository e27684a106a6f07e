"""``bgformer markers``: a table of marker genes from a file."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import bgformer as bgf
from bgformer.cli import main

COLUMNS = {
    "t": "scores",
    "p": "pvals",
    "p_adjusted": "pvals_adj",
    "detected": "pct_nz_group",
    "detected_rest": "pct_nz_reference",
}


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_the_table_is_that_of_python(clustered, tmp_path, kind):
    if kind == "zarr":
        pytest.importorskip("zarr")
    path, table = tmp_path / f"cells.{kind}", tmp_path / "markers.csv"
    (clustered.write_zarr if kind == "zarr" else clustered.write_h5ad)(path)
    assert main(["markers", str(path), "--csv", str(table)]) == 0
    found = pd.read_csv(table, dtype={"cluster": str, "gene": str})
    bgf.tl.markers(clustered)
    expected = sc.get.rank_genes_groups_df(clustered, None)
    assert list(found["cluster"]) == list(expected["group"])
    assert list(found["gene"]) == list(expected["names"])
    for name, scanpys in COLUMNS.items():
        np.testing.assert_allclose(found[name], expected[scanpys], rtol=1e-5, atol=1e-6)


def test_some_genes_of_another_column(clustered, tmp_path):
    path, table = tmp_path / "cells.h5ad", tmp_path / "markers.csv"
    clustered.write_h5ad(path)
    before = path.read_bytes()
    command = ["markers", str(path), "--csv", str(table), "--cluster-name", "cell_type"]
    assert main([*command, "--n-genes", "2"]) == 0
    found = pd.read_csv(table)
    assert list(found["cluster"].value_counts(sort=False)) == [2] * 10
    assert found.groupby("cluster")["gene"].first()["CD19+ B"] == "CD79A"
    assert path.read_bytes() == before


def test_without_results_the_p_values_are_those_of_the_t_test(clustered, tmp_path):
    path, table = tmp_path / "cells.h5ad", tmp_path / "markers.csv"
    anndata.AnnData(clustered.X, obs=clustered.obs, var=clustered.var).write_h5ad(path)
    assert main(["markers", str(path), "--csv", str(table)]) == 0
    found = pd.read_csv(table, dtype={"cluster": str, "gene": str}).set_index(["cluster", "gene"])
    sc.pp.normalize_total(clustered, target_sum=1e4)
    sc.pp.log1p(clustered)
    sc.tl.rank_genes_groups(clustered, "bgformer", method="t-test")
    expected = sc.get.rank_genes_groups_df(clustered, None).set_index(["group", "names"])
    p = expected["pvals"].loc[found.index]
    np.testing.assert_allclose(found["p"], p, rtol=1e-3, atol=1e-12)


def test_a_cluster_of_one_cell_is_named_and_left_out(clustered, tmp_path, capsys):
    path, table = tmp_path / "cells.h5ad", tmp_path / "markers.csv"
    clustered.obs["given"] = pd.Categorical(["alone", "b", *["b", "c"] * 349])
    clustered.write_h5ad(path)
    command = ["markers", str(path), "--csv", str(table), "--cluster-name", "given"]
    assert main([*command, "--n-genes", "2"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("a single cell have no markers, because a test needs two cells: 'alone'.")
    assert list(pd.read_csv(table)["cluster"]) == ["b", "b", "c", "c"]


def test_what_is_wrong_is_one_line(clustered, tmp_path, capsys):
    path, table = str(tmp_path / "cells.h5ad"), str(tmp_path / "markers.csv")
    clustered.layers["log"] = clustered.X.log1p()
    clustered.write_h5ad(path)
    anndata.AnnData(clustered.X, obs=clustered.obs[["cell_type"]]).write_h5ad(
        tmp_path / "raw.h5ad"
    )
    cases = [
        ([path, "--csv", table, "--cluster-name", "x"], "--cluster-name 'x' is not a column"),
        ([path, "--csv", table, "--layer", "log"], "X looks like counts: leave layer out"),
        ([path, "--csv", table, "--n-genes", "0"], "--n-genes is 0"),
        ([path, "--csv", path], "must be named .csv"),
        ([str(tmp_path / "raw.h5ad"), "--csv", table], "'bgformer' is not a column of"),
    ]
    for arguments, message in cases:
        assert main(["markers", *arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert message in lines[0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cells.h5ad", "raw.h5ad"]
