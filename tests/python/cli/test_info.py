"""What ``bgformer info`` says of results: of a fit, of a part of its cells, or predicted."""

import anndata
import numpy as np
import pytest

import bgformer as bgf
from bgformer.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")


@pytest.fixture
def told(capsys):
    """Return the line on the results in a file."""

    def told(path):
        assert main(["info", str(path)]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "results '" in line]
        return line

    return told


def named(obs, key="bgformer"):
    sizes = obs[key].value_counts(sort=False).drop("unassigned", errors="ignore")
    return ", ".join(f"{name} ({size} cells)" for name, size in sizes.items() if size)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    model.save(folder)
    return folder


@pytest.fixture
def some(pbmc700, model):
    """Cells that are in some of the clusters of the model."""
    return pbmc700[(model.labels_ == 0) | (model.labels_ == 2)].copy()


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_predicted_cells_are_said_to_be_placed_by_a_model(
    some, saved, model, tmp_path, told, capsys, suffix
):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    given, out = tmp_path / f"some{suffix}", tmp_path / f"out{suffix}"
    some.write_zarr(given) if suffix == ".zarr" else some.write_h5ad(given)
    assert main(["predict", str(saved), str(given), "-o", str(out), "--quiet"]) == 0
    obs = (anndata.read_zarr if suffix == ".zarr" else anndata.read_h5ad)(out).obs
    k = model.partition_.n_clusters
    n_apart = (obs["bgformer"] == "unassigned").sum()
    n_found = obs["bgformer"].nunique() - (n_apart > 0)
    assert 1 < n_found < k
    assert told(out) == (
        f"results 'bgformer' of bgformer {bgf.__version__}: placed by a model of other cells, "
        f"{n_found} of {k} clusters: {named(obs)}"
        f"{f', {n_apart} unassigned' if n_apart else ''} (resolution 0.8, seed 0)"
    )


def test_cells_in_all_clusters_of_a_model_are_not_said_to_be_fitted(
    pbmc700, saved, model, tmp_path, told
):
    given, out = tmp_path / "cells.h5ad", tmp_path / "out.h5ad"
    pbmc700.write_h5ad(given)
    assert main(["predict", str(saved), str(given), "-o", str(out), "--quiet"]) == 0
    k = model.partition_.n_clusters
    assert f": placed by a model of other cells, {k} of {k} clusters: 0 (" in told(out)
    assert main(["recluster", str(out), "-o", str(out), "--force", "--n-clusters", "3"]) == 0
    line = told(out)
    assert ": placed by a model of other cells, 3 of 3 clusters: 0 (" in line
    assert line.endswith("(number set, seed 0)")


def test_unassigned_cells_are_not_a_cluster(predicted, tmp_path, told, capsys):
    path = tmp_path / "new.h5ad"
    predicted.write_h5ad(path)
    apart, k = predicted.obs["bgformer"] == "unassigned", predicted.uns["bgformer"]["n_clusters"]
    n_apart, n_found = apart.sum(), predicted.obs["bgformer"][~apart].nunique()
    listed = named(predicted.obs)
    expected = f", {n_found} of {k} clusters: {listed}, {n_apart} unassigned (resolution"
    assert expected in told(path)
    few = predicted[[*np.flatnonzero(apart)[:3], np.flatnonzero(~apart)[0]]].copy()
    few.write_h5ad(tmp_path / "few.h5ad")
    name = few.obs["bgformer"].iloc[3]
    expected = f"1 of {k} clusters: {name} (1 cell), 3 unassigned ("
    assert expected in told(tmp_path / "few.h5ad")
    few[:3].copy().write_h5ad(tmp_path / "none.h5ad")
    assert f"0 of {k} clusters, 3 unassigned (" in told(tmp_path / "none.h5ad")
    capsys.readouterr()
    assert main(["recluster", str(path), "-o", str(path), "--force", "--n-clusters", "3"]) == 0
    assert capsys.readouterr().err == f"bgformer: 3 clusters, {n_apart} unassigned\n"


def test_a_fit_over_predicted_results_is_a_fit(pbmc700, saved, tmp_path, told):
    path = tmp_path / "cells.h5ad"
    pbmc700.write_h5ad(path)
    words = (str(path), "-o", str(path), "--quiet", "--force")
    assert main(["predict", str(saved), *words]) == 0
    assert main(["cluster", *words, "--max-steps", "3"]) == 0
    sizes = anndata.read_h5ad(path).obs["bgformer"].value_counts(sort=False)
    listed = ", ".join(map(str, sizes))
    assert f": {len(sizes)} clusters of {listed} cells (resolution 0.8" in told(path)


def test_a_part_of_the_cells_is_said_to_be_one(clustered, tmp_path, told):
    part = clustered[clustered.obs["bgformer"].isin(["1", "2"])].copy()
    part.write_h5ad(tmp_path / "part.h5ad")
    k = clustered.uns["bgformer"]["n_clusters"]
    expected = f": {part.n_obs} of 700 cells, 2 of {k} clusters: {named(part.obs)} (resolution"
    assert expected in told(tmp_path / "part.h5ad")


def test_clusters_that_have_names_are_named(clustered, tmp_path, told):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"0": "T cells"})
    clustered.write_h5ad(tmp_path / "named.h5ad")
    assert "clusters: T cells (" in told(tmp_path / "named.h5ad")


def test_files_that_do_not_say_whether_they_were_predicted_are_read(clustered, tmp_path, told):
    del clustered.uns["bgformer"]["predicted"]
    clustered.write_h5ad(tmp_path / "old.h5ad")
    k = clustered.uns["bgformer"]["n_clusters"]
    assert f": {k} clusters of " in told(tmp_path / "old.h5ad")
    bgf.tl.recluster(anndata.read_h5ad(tmp_path / "old.h5ad"), n_clusters=3)


def test_what_says_neither_is_damage(clustered, tmp_path, told):
    clustered.uns["bgformer"]["predicted"] = "perhaps"
    clustered.write_h5ad(tmp_path / "odd.h5ad")
    assert "damaged (predicted is 'perhaps'; it must be True or False)" in told(
        tmp_path / "odd.h5ad"
    )
