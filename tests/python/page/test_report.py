"""The report as a file: what is in it, and what is never written over."""

import base64
import gzip
import json
import os
import re
import struct

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf
from bgformer.cli import main
from bgformer.page import content


def unpacked(path):
    """Return what a report holds: JSON, and arrays by name."""
    text = path.read_text("utf-8")
    data = re.search(r'id="data">([^<]*)</script>', text)[1]
    raw = gzip.decompress(base64.b64decode(data))
    (length,) = struct.unpack("<I", raw[:4])
    said = json.loads(raw[4 : 4 + length])
    arrays = {
        name: np.frombuffer(raw, of["type"], of["length"], 4 + length + of["start"])
        for name, of in said["arrays"].items()
    }
    return said, arrays


def clusters_of(said, arrays, at):
    """Return the names of the cells' clusters at a stop."""
    n = len(said["cells"])
    return np.array(said["stops"][at]["names"])[arrays["labels"][at * n : (at + 1) * n]]


@pytest.fixture
def report(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture
def clustered(clustered):
    """Cells whose UMAP, which takes longest, is there."""
    clustered.obsm["X_bgformer_umap"] = np.array(clustered.obsm["X_bgformer"][:, :2])
    return clustered


def test_every_stop_has_the_clusters_of_recluster(clustered, report):
    bgf.report(clustered, report)
    said, arrays = unpacked(report)
    assert said["cells"] == list(clustered.obs_names)
    assert len(said["stops"]) == 31
    for at, stop in enumerate(said["stops"]):
        again = clustered
        if not stop["stored"]:
            again = bgf.tl.recluster(clustered, resolution=stop["resolution"], copy=True)
        expected = again.obs["bgformer"].astype(str)
        np.testing.assert_array_equal(clusters_of(said, arrays, at), expected)
        assert stop["clusters"] == expected.nunique()
        assert stop["cells"] == list(expected.value_counts()[stop["names"]])
        table = again.uns["bgformer"]["evidence"]
        assert [str(one) for one in stop["nearest"]] == list(table["nearest"])
        np.testing.assert_allclose(
            np.array(stop["links"], float), table["links"], rtol=1e-5, atol=1e-8
        )


def test_the_calls_give_what_they_stand_beside(clustered, report):
    bgf.tl.recluster(clustered, n_clusters=5)
    bgf.report(clustered, report)
    said, _ = unpacked(report)
    stored = next(stop for stop in said["stops"] if stop["stored"])
    assert stored["calls"]["Python"] == "bgf.tl.recluster(adata, n_clusters=5)"
    assert stored["calls"]["R"] == "object <- ReclusterBGFormer(object, n.clusters = 5L)"
    assert said["calls"]["Python"] == "bgf.tl.cluster(adata, max_steps=30, seed=0)"
    scope = {"bgf": bgf, "adata": clustered.copy()}
    before = clustered.obs["bgformer"].to_numpy()
    exec(stored["calls"]["Python"], scope)
    np.testing.assert_array_equal(scope["adata"].obs["bgformer"], before)


def test_names_colours_and_markers_are_those_of_the_cells(clustered, report):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"1": "mine"})
    clustered.uns["bgformer_colors"][1] = "#123456"
    bgf.report(clustered, report)
    said, _ = unpacked(report)
    stored = next(stop for stop in said["stops"] if stop["stored"])
    assert (stored["names"][1], stored["colours"][1]) == ("mine", "#123456")
    bgf.tl.markers(clustered)
    best = clustered.uns["rank_genes_groups"]["names"]["mine"][:10]
    table = stored["table"]
    own = [g for g, c in zip(table["gene"], table["cluster"], strict=True) if c == 1]
    assert own == list(best)


def test_columns_are_those_that_can_be_drawn(clustered, report):
    n = clustered.n_obs
    del clustered.obs["bgformer_confidence"]
    clustered.obs["depth"] = np.linspace(5, 9, n)
    clustered.obs["flag"] = np.arange(n) % 2 == 0
    clustered.obs["barcode"] = [f"b{i}" for i in range(n)]
    clustered.obs["some"] = pd.Categorical(["a", None, "b", "b"] * (n // 4))
    bgf.report(clustered, report)
    said, arrays = unpacked(report)
    columns = {column["name"]: column for column in said["columns"]}
    assert set(columns) == {"cell_type", "depth", "flag", "some"}
    assert "barcode" in said["left_out"]
    assert (columns["depth"]["low"], columns["depth"]["high"]) == (5, 9)
    assert columns["some"]["groups"] == ["a", "b", "missing"]
    at = [column["name"] for column in said["columns"]].index("some")
    assert list(arrays[f"column{at}"][:4]) == [0, 2, 1, 1]


def test_colours_of_any_kind_are_those_that_browsers_know(clustered, report):
    n = clustered.obs["bgformer"].nunique()
    given = ["red", "#00ff00ff", "tab:blue", "0.5", *["#123456"] * (n - 4)]
    clustered.uns["bgformer_colors"] = np.array(given, dtype=object)
    bgf.report(clustered, report)
    said, _ = unpacked(report)
    stored = next(stop for stop in said["stops"] if stop["stored"])
    assert stored["colours"][:4] == ["#ff0000", "#00ff00", "#1f77b4", "#808080"]


def test_missing_values_are_no_values_and_few_numbers_are_groups(clustered, report):
    n = clustered.n_obs
    clustered.obs["depth"] = [np.nan, *np.linspace(5, 6, n - 1)]
    clustered.obs["flag"] = pd.array([True, None, *[False] * (n - 2)], dtype="boolean")
    clustered.obs["donor"] = np.arange(n) % 3
    clustered.obs["twice"] = 1
    clustered.obs = pd.concat([clustered.obs, clustered.obs[["twice"]]], axis=1)
    bgf.report(clustered, report)
    said, arrays = unpacked(report)
    at = {column["name"]: place for place, column in enumerate(said["columns"])}
    assert list(arrays[f"column{at['depth']}"][:2]) == [255, 0]
    assert max(arrays[f"column{at['depth']}"][1:]) == 254
    assert said["columns"][at["flag"]]["groups"] == ["False", "True", "missing"]
    assert said["columns"][at["donor"]]["groups"] == ["0", "1", "2"]
    assert "twice" in said["left_out"]


def test_what_has_changed_since_is_noted(clustered, report):
    clustered.obs.loc[clustered.obs_names[:50], "bgformer"] = "1"
    clustered.obsm["X_bgformer_umap"][0] = np.nan
    clustered.layers["counts"], clustered.X = clustered.X, clustered.X.log1p()
    bgf.report(clustered, report, layer="counts")
    said, _ = unpacked(report)
    assert any("have been changed since" in note for note in said["notes"])
    assert np.isfinite(clustered.obsm["X_bgformer_umap"]).all()


def test_predicted_cells_keep_those_that_are_unassigned(predicted, report):
    bgf.report(predicted, report)
    said, arrays = unpacked(report)
    for at, stop in enumerate(said["stops"]):
        assert stop["names"][-1] == "unassigned"
        apart = clusters_of(said, arrays, at) == "unassigned"
        np.testing.assert_array_equal(apart, predicted.obs["bgformer"] == "unassigned")
    assert any("unassigned" in note for note in said["notes"])


def test_a_subset_and_a_sample(clustered, report, monkeypatch):
    part = clustered[::3].copy()
    monkeypatch.setattr(content, "MOST_CELLS", 50)
    bgf.report(part, report)
    said, arrays = unpacked(report)
    assert (said["n_cells"], len(said["cells"])) == (part.n_obs, 50)
    assert len(arrays["x"]) == 50
    assert any("of the 700 cells" in note for note in said["notes"])
    own = next(stop for stop in said["stops"] if stop["stored"])
    given = own["calls"]["Python"]
    scope = {"bgf": bgf, "adata": part.copy()}
    exec(given, scope)  # either the column itself, or a call that gives the same clusters
    np.testing.assert_array_equal(scope["adata"].obs["bgformer"], part.obs["bgformer"])
    table = part.uns["bgformer"]["evidence"]
    assert own["markers"] == list(table["markers"])
    stored = next(at for at, stop in enumerate(said["stops"]) if stop["stored"])
    np.testing.assert_array_equal(
        clusters_of(said, arrays, stored), part.obs["bgformer"][said["cells"]].astype(str)
    )


def test_cells_without_counts_in_the_genes_are_noted(clustered, report):
    counts = clustered.X.tolil()
    counts[:3] = 0
    counts = counts.tocsr()
    other = anndata.AnnData(np.ones((700, 1), dtype=np.float32), var=pd.DataFrame(index=["other"]))
    other.obs_names = clustered.obs_names
    clustered.X = counts
    both = anndata.concat([clustered, other], axis=1)
    both.X = both.X.tocsr() if hasattr(both.X, "tocsr") else both.X
    for place in ("obs", "obsm", "uns"):
        setattr(both, place, getattr(clustered, place))
    bgf.report(both, report)
    said, _ = unpacked(report)
    assert any(note.startswith("3 cells have no counts") for note in said["notes"])


def test_the_same_results_give_the_same_file_and_a_small_one(clustered, report):
    del clustered.obsm["X_bgformer_umap"]
    before = set(clustered.obs), set(clustered.uns)
    bgf.report(clustered, report)
    first = report.read_bytes()
    bgf.report(clustered, report)  # an earlier report is replaced
    assert report.read_bytes() == first
    assert len(first) < 4_000_000
    assert (set(clustered.obs), set(clustered.uns) - {"umap"}) == before
    page = first.decode()
    assert not re.search(r'(src|href)="(https?:)?//', page)  # nothing is fetched


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_the_command_writes_the_same(clustered, report, tmp_path, kind):
    if kind == "zarr":
        pytest.importorskip("zarr")
    path, other = tmp_path / f"cells.{kind}", tmp_path / "other.html"
    bgf.report(clustered, report)
    (clustered.write_zarr if kind == "zarr" else clustered.write_h5ad)(path)
    assert main(["report", str(path), "-o", str(other)]) == 0
    (said, arrays), (also, others) = unpacked(report), unpacked(other)
    assert also.pop("title") == f"Clusters of cells.{kind}"
    del said["title"]
    assert said == also
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, others[name])


def test_what_is_there_is_not_lost(clustered, report, tmp_path):
    report.write_text("my own page", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is not a report of bgformer"):
        bgf.report(clustered, report)
    assert report.read_text("utf-8") == "my own page"
    report.unlink()
    bgf.report(clustered, report)
    first = report.read_bytes()
    clustered.X = clustered.X.log1p()
    with pytest.raises(bgf.CountsError):
        bgf.report(clustered, report)
    assert report.read_bytes() == first
    assert os.listdir(tmp_path) == ["report.html"]


def test_bad_input_is_one_sentence(clustered, pbmc700, tmp_path):
    cases = [
        (pbmc700, "a.html", ValueError, "adata has no results named 'bgformer'"),
        (clustered, "a.pdf", ValueError, "must be named .html"),
        (clustered, "none/a.html", FileNotFoundError, "there is no folder"),
        (clustered, ".", ValueError, "must be named .html"),
        (None, "a.html", TypeError, "adata is a NoneType; give an AnnData."),
    ]
    for adata, name, error, message in cases:
        with pytest.raises(error, match=re.escape(message)):
            bgf.report(adata, tmp_path / name)
    other = clustered.copy()
    other.obsm["X_bgformer"] = other.obsm["X_bgformer"][::-1].copy() + 1
    with pytest.raises(ValueError, match="results"):
        bgf.report(other, tmp_path / "a.html")
    with pytest.raises(ValueError, match=r"path is 3; it must be the name of an \.html file"):
        bgf.report(clustered, 3)
    assert os.listdir(tmp_path) == []


def test_the_command_says_what_is_wrong_in_one_line(clustered, pbmc700, tmp_path, capsys):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    anndata.AnnData(pbmc700.X, obs=pbmc700.obs).write_h5ad(tmp_path / "raw.h5ad")
    (tmp_path / "notes.html").write_text("mine", encoding="utf-8")
    cases = [
        ("raw.h5ad", "a.html", "has no results named 'bgformer'; run bgformer cluster first"),
        ("cells.h5ad", "a.txt", "must be named .html"),
        ("cells.h5ad", "notes.html", "exists and is not a report"),
        ("absent.h5ad", "a.html", "absent.h5ad"),
    ]
    for source, target, message in cases:
        assert main(["report", str(tmp_path / source), "-o", str(tmp_path / target)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert sorted(os.listdir(tmp_path)) == ["cells.h5ad", "notes.html", "raw.h5ad"]
