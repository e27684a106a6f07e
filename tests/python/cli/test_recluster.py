"""``bgformer recluster``: what it writes, and what it leaves as it is."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import bgformer as bgf
from bgformer.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")
WRITE = {".h5ad": anndata.AnnData.write_h5ad, ".zarr": anndata.AnnData.write_zarr}
READ = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}
ASKED = [{}, {"resolution": 2.5}, {"n_clusters": 3}]


@pytest.fixture(params=WRITE)
def given(request, clustered, tmp_path):
    """A file of clustered cells, with something in every place of an AnnData."""
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    clustered.layers["log"] = clustered.X.astype(np.float64).log1p()
    clustered.raw = clustered[:, :20].copy()
    clustered.obs["batch"] = pd.Categorical(np.where(np.arange(700) % 2, "a", "b"))
    clustered.obsm["X_pca"] = np.ones((700, 3))
    clustered.obsm["X_bgformer_umap"] = np.ones((700, 2))
    clustered.obsp["near"] = sparse.identity(700, format="csr")
    clustered.uns["note"] = {"of": "the user"}
    WRITE[request.param](clustered, tmp_path / f"cells{request.param}")
    return tmp_path / f"cells{request.param}"


def command(*arguments):
    return main([str(argument) for argument in arguments])


def options(asked):
    return [
        word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", value)
    ]


def fails(capsys, *arguments):
    """Run a command that must fail and return its one line."""
    assert command("recluster", *arguments) == 2
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    return lines[0]


def assert_same(found, expected):
    """Check that two parts of AnnData hold the same."""
    if not np.isscalar(expected):  # older versions of anndata read numbers as NumPy's
        assert type(found) is type(expected)
    if isinstance(found, anndata.AnnData):
        for place in ("obs", "var", "X", "layers", "obsm", "obsp", "varm", "uns"):
            assert_same(getattr(found, place), getattr(expected, place))
        assert_same(found.raw.X, expected.raw.X)
    elif isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif sparse.issparse(found):
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    elif hasattr(found, "keys"):
        assert set(found) == set(expected)  # older versions of anndata list them as the disk does
        for name in found:
            assert_same(found[name], expected[name])
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("asked", ASKED)
def test_a_file_gets_what_python_would_give_it(given, tmp_path, asked, capsys):
    out = tmp_path / f"out{given.suffix}"
    assert command("recluster", given, "-o", out, *options(asked)) == 0
    found, expected = READ[given.suffix](out), READ[given.suffix](given)
    bgf.tl.recluster(expected, **asked)
    assert_same(found, expected)
    n_clusters = expected.uns["bgformer"]["n_clusters"]
    assert capsys.readouterr().err == f"bgformer: {n_clusters} clusters\n"
    assert {path.name for path in tmp_path.iterdir()} == {given.name, out.name}


@pytest.mark.parametrize("asked", ASKED)
def test_clusters_of_their_own_name_are_added(given, asked, capsys):
    named = ("--cluster-name", "other", "--quiet", "--force")
    expected = READ[given.suffix](given)
    for asked_now in ({"n_clusters": 2}, asked):  # and once more, over those that are there
        words = (given, "-o", given, *named, *options(asked_now))
        assert command("recluster", *words) == 0
        bgf.tl.recluster(expected, cluster_name="other", **asked_now)
    assert_same(READ[given.suffix](given), expected)
    assert capsys.readouterr() == ("", "")
    assert list(given.parent.iterdir()) == [given]


def test_a_subset_is_clustered_by_its_own_cells(given, tmp_path):
    read, part = READ[given.suffix], tmp_path / f"part{given.suffix}"
    cells = read(given)
    WRITE[given.suffix](cells[cells.obs["bgformer"].isin(["0", "2"])].copy(), part)
    assert command("recluster", part, "-o", part, "--force", "--resolution", 1.5, "--quiet") == 0
    expected = cells[cells.obs["bgformer"].isin(["0", "2"])].copy()
    bgf.tl.recluster(expected, resolution=1.5)
    found = read(part)
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    assert_same(found.uns["bgformer"]["evidence"], expected.uns["bgformer"]["evidence"])


def test_a_table_alone_is_all_that_is_written(given, tmp_path):
    table = tmp_path / "clusters.csv"
    words = ("--csv", table, "--n-clusters", 4, "--cluster-name", "four", "--quiet")
    before = {path.name for path in tmp_path.iterdir()}
    assert command("recluster", given, *words) == 0
    expected = READ[given.suffix](given)
    bgf.tl.recluster(expected, n_clusters=4, cluster_name="four")
    found = pd.read_csv(table, dtype={"four": str})
    assert list(found.columns) == ["cell", "four", "four_confidence"]
    assert list(found["cell"]) == list(expected.obs_names)
    assert list(found["four"]) == list(expected.obs["four"])
    confidence = found["four_confidence"].to_numpy(np.float32)
    np.testing.assert_array_equal(confidence, expected.obs["four_confidence"])
    assert {path.name for path in tmp_path.iterdir()} == before | {"clusters.csv"}


def test_results_of_another_name(clustered, tmp_path):
    path = tmp_path / "cells.h5ad"
    bgf.tl.cluster(clustered, max_steps=3, key_added="second", verbose=False)
    clustered.write_h5ad(path)
    words = ("--key-added", "second", "--n-clusters", 2, "--quiet", "--force")
    assert command("recluster", path, "-o", path, *words) == 0
    found = anndata.read_h5ad(path)
    assert found.obs["second"].nunique() == found.uns["second"]["n_clusters"] == 2
    pd.testing.assert_series_equal(found.obs["bgformer"], clustered.obs["bgformer"])


def test_what_cannot_be_done_is_one_line_and_leaves_the_file(given, tmp_path, capsys):
    out = tmp_path / f"out{given.suffix}"
    for words, message in [
        (["-o", out, "--resolution", "0"], "resolution is 0.0; it must be a number above 0"),
        (["-o", out, "--n-clusters", "0"], "--n-clusters is 0; it must be"),
        (["-o", out, "--n-clusters", "9999"], "--n-clusters is 9999, but"),
        (["-o", out, "--n-clusters", "3", "--resolution", "1"], "not both"),
        (
            ["-o", out, "--key-added", "leiden"],
            "the input has no results named 'leiden'; run bgformer cluster first",
        ),
        (["-o", out, "--key-added", "note"], "the input's uns['note'] is not from bgformer"),
        (["-o", out, "--cluster-name", "batch"], "a column 'batch' that is not from bgformer"),
        (["-o", out, "--cluster-name", "a/b"], "--cluster-name is 'a/b', which cannot name"),
        (["-o", given], "exists; give another name, or --force"),
        (["-o", tmp_path / "out.txt"], f"must be named {given.suffix}"),
        ([], "the output is missing; give -o OUT.h5ad, or --csv OUT.csv"),
        (["--csv", tmp_path / "t.csv", "--cluster-name", "cell"], "--cluster-name is 'cell'"),
    ]:
        assert message in fails(capsys, given, *words)
    assert list(tmp_path.iterdir()) == [given]


def test_a_file_without_results_is_refused(cells, tmp_path, capsys):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    words = (tmp_path / "cells.h5ad", "-o", tmp_path / "out.h5ad")
    assert "has no results named 'bgformer'" in fails(capsys, *words)


def test_a_saved_model_is_said_to_be_one(model, tmp_path, capsys):
    model.save(tmp_path / "model")
    line = fails(capsys, tmp_path / "model", "-o", tmp_path / "out.h5ad")
    assert "model' is a saved model" in line
    assert "give the .h5ad file or .zarr store with the results" in line


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("obsm/bgformer_anchors/indices", "obsm/bgformer_anchors of "),
        ("obsm/X_bgformer", "are of another fit than the results"),
        ("uns/bgformer/anchor_clusters", "the input's uns['bgformer'] is damaged"),
        ("layers/log/indptr", "layers"),
        ("X/indptr", "X of "),
    ],
)
def test_damaged_results_and_damage_that_would_be_copied_are_named(
    clustered, tmp_path, capsys, place, message
):
    path = tmp_path / "cells.h5ad"
    clustered.layers["log"] = clustered.X.copy()
    clustered.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file[place][...] = file[place][...] + 10_000
    line = fails(capsys, path, "-o", path, "--force")
    assert message in line
    assert list(tmp_path.iterdir()) == [path]
