"""Results on AnnData: where they are, that they last, and that they are the same again."""

import json
import pickle
import warnings
from contextlib import nullcontext

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import bgformer as bgf
from bgformer.cli import main
from bgformer.data.source import opened
from bgformer.graph.defaults import DEFAULT_RESOLUTION
from bgformer.graph.evidence import Profiles, of_some
from bgformer.store.results import check_key

THREADED_RUN = """
import sys
import numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
import bgformer as bgf
from pbmc700 import load_pbmc700
adata = load_pbmc700()
bgf.tl.cluster(adata, max_steps=30, seed=0, verbose=False)
np.savez(sys.argv[2], labels=adata.obs["bgformer"].to_numpy(str), latent=adata.obsm["X_bgformer"])
"""


def test_results_are_where_they_should_be(clustered):
    labels = clustered.obs["bgformer"]
    k = len(labels.cat.categories)
    assert list(labels.cat.categories) == [str(i) for i in range(k)]
    sizes = labels.value_counts(sort=False).to_numpy()
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()  # "0" is the largest
    confidence = clustered.obs["bgformer_confidence"]
    assert confidence.between(0, 1).all()
    latent = clustered.obsm["X_bgformer"]
    assert latent.dtype == np.float32
    assert np.isfinite(latent).all()
    weights = clustered.obsm["bgformer_anchors"]
    assert sparse.issparse(weights)
    np.testing.assert_allclose(np.asarray(weights.sum(1)).ravel(), 1, atol=1e-5)
    stored = clustered.uns["bgformer"]
    assert stored["version"] == bgf.__version__
    assert stored["seed"] == 0
    assert stored["n_clusters"] == k
    assert stored["anchors"].shape == (weights.shape[1], latent.shape[1])
    assert stored["anchor_clusters"].shape == (weights.shape[1],)
    assert stored["anchor_clusters"].max() + 1 == k
    assert set(stored["genes"]) <= set(clustered.var_names)
    assert len(stored["history"]["loss"]) == len(stored["history"]["step"]) == 30
    json.dumps(stored["params"])  # plain numbers and strings


def test_clusters_are_about_cell_types(clustered):
    from sklearn.metrics import adjusted_rand_score

    assert adjusted_rand_score(clustered.obs["cell_type"], clustered.obs["bgformer"]) > 0.3


def test_the_rest_is_left_alone(cells, unchanged):
    before = cells.copy()
    bgf.tl.cluster(cells, max_steps=5, verbose=False)
    assert list(cells.obs_names) == list(before.obs_names)
    assert list(cells.obs) == ["cell_type", "bgformer", "bgformer_confidence"]
    assert (cells.X != before.X).nnz == 0
    assert list(cells.uns) == ["bgformer", "bgformer_colors"]
    assert set(cells.obsm) == {"X_bgformer", "bgformer_anchors"}


def test_copy_leaves_the_original_alone(cells, unchanged):
    with unchanged(cells):
        found = bgf.tl.cluster(cells, max_steps=5, copy=True, verbose=False)
    assert "bgformer" in found.obs
    with unchanged(found):
        other = bgf.tl.recluster(found, n_clusters=4, copy=True)
    assert other.uns["bgformer"]["n_clusters"] == 4
    assert len(other.obs["bgformer"].cat.categories) == 4
    assert found.uns["bgformer"]["n_clusters"] == len(found.obs["bgformer"].cat.categories)


def test_results_under_another_name(cells):
    bgf.tl.cluster(cells, max_steps=5, key_added="fine", verbose=False)
    assert {"fine", "fine_confidence"} <= set(cells.obs)
    assert set(cells.obsm) == {"X_fine", "fine_anchors"}
    assert list(cells.uns) == ["fine", "fine_colors"]
    bgf.tl.recluster(cells, n_clusters=3, key_added="fine")
    assert cells.obs["fine"].nunique() == 3
    with pytest.raises(ValueError, match="adata has no results named 'bgformer'"):
        bgf.tl.recluster(cells)


def test_two_clusterings_side_by_side(clustered):
    before = clustered.copy()
    bgf.tl.recluster(clustered, n_clusters=3, cluster_name="three")
    assert clustered.obs["three"].nunique() == 3
    assert clustered.obs["three_confidence"].between(0, 1).all()
    pd.testing.assert_frame_equal(clustered.obs[before.obs.columns], before.obs)
    assert clustered.uns["bgformer"]["n_clusters"] == before.uns["bgformer"]["n_clusters"]
    bgf.tl.recluster(clustered, n_clusters=2, cluster_name="three")  # ours to write over
    assert clustered.obs["three"].nunique() == 2
    bgf.tl.recluster(clustered, n_clusters=4, cluster_name="bgformer")  # the results' own name
    assert clustered.uns["bgformer"]["n_clusters"] == clustered.obs["bgformer"].nunique() == 4
    clustered.obs["mine"] = "x"
    with pytest.raises(ValueError, match="column 'mine' that is not from bgformer"):
        bgf.tl.recluster(clustered, n_clusters=2, cluster_name="mine")
    del clustered.obs["bgformer"]
    with pytest.raises(ValueError, match=r"adata.obs\['bgformer'\], part of the results"):
        bgf.tl.recluster(clustered)


def test_cluster_takes_cells_alone(tmp_path):
    with pytest.raises(TypeError, match="adata is a str; give an AnnData"):
        bgf.tl.cluster(str(tmp_path), verbose=False)


def test_no_results_yet(cells, unchanged):
    message = r"adata has no results named 'bgformer'; run bgformer.tl.cluster\(adata\) first."
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.recluster(cells)


def test_results_survive_a_file_and_can_be_reclustered_there(clustered, tmp_path):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(read.obs, clustered.obs)
    np.testing.assert_array_equal(read.obsm["X_bgformer"], clustered.obsm["X_bgformer"])
    assert (read.obsm["bgformer_anchors"] != clustered.obsm["bgformer_anchors"]).nnz == 0
    for part in ("anchors", "anchor_clusters", "genes"):
        np.testing.assert_array_equal(read.uns["bgformer"][part], clustered.uns["bgformer"][part])
    for name, values in clustered.uns["bgformer"]["history"].items():
        np.testing.assert_array_equal(read.uns["bgformer"]["history"][name], values)
    assert read.uns["bgformer"]["params"] == clustered.uns["bgformer"]["params"]
    for adata in (read, clustered):
        bgf.tl.recluster(adata, resolution=2.0)
    pd.testing.assert_frame_equal(read.obs, clustered.obs)


def test_reclustering_at_the_same_resolution_changes_nothing(clustered):
    before = clustered.obs.copy()
    bgf.tl.recluster(clustered, resolution=clustered.uns["bgformer"]["resolution"])
    pd.testing.assert_frame_equal(clustered.obs, before)


def test_reclustering_does_not_train(clustered, monkeypatch):
    latent = clustered.obsm["X_bgformer"].copy()
    monkeypatch.setattr("bgformer.pipeline.training.train", None)
    bgf.tl.recluster(clustered, resolution=3.0)
    assert clustered.uns["bgformer"]["resolution"] == 3.0
    assert clustered.uns["bgformer"]["n_clusters"] == clustered.obs["bgformer"].nunique()
    np.testing.assert_array_equal(clustered.obsm["X_bgformer"], latent)
    for k in (1, 2, 5, 13, 30):
        bgf.tl.recluster(clustered, n_clusters=k)
        assert clustered.obs["bgformer"].nunique() == k
        assert (np.diff(clustered.obs["bgformer"].value_counts(sort=False)) <= 0).all()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"resolution": 0}, "resolution is 0; it must be a number above 0"),
        ({"resolution": "x"}, "resolution is 'x'; it must be a number above 0"),
        ({"n_clusters": 0}, "n_clusters is 0; it must be a whole number"),
        ({"n_clusters": 2.5}, "n_clusters is 2.5; it must be a whole number"),
        ({"n_clusters": 701}, r"n_clusters is 701, but the 700 cells and \d+ anchors allow 1 to"),
    ],
)
def test_a_request_that_cannot_be_met_changes_nothing(clustered, unchanged, request_, message):
    stored = pickle.dumps(clustered.uns["bgformer"])
    with unchanged(clustered), pytest.raises(ValueError, match=message):
        bgf.tl.recluster(clustered, **request_)
    assert pickle.dumps(clustered.uns["bgformer"]) == stored


def test_some_of_the_cells_can_be_reclustered(clustered):
    part = clustered[clustered.obs["bgformer"] == "0"].copy()
    bgf.tl.recluster(part, resolution=2.0)
    assert part.obs["bgformer"].notna().all()
    assert part.obs["bgformer"].nunique() == part.uns["bgformer"]["n_clusters"]


def test_clustering_again_forgets_the_umap_of_before(cells):
    bgf.tl.cluster(cells, max_steps=3, verbose=False)
    cells.obsm["X_bgformer_umap"] = np.zeros((cells.n_obs, 2))
    bgf.tl.recluster(cells, n_clusters=2)
    assert "X_bgformer_umap" in cells.obsm  # the latent is the same
    bgf.tl.cluster(cells, max_steps=4, verbose=False)
    assert "X_bgformer_umap" not in cells.obsm


@pytest.mark.parametrize("in_a_file", [False, True])
def test_the_umap_that_scanpy_finds_is_forgotten_unless_it_is_a_users(cells, tmp_path, in_a_file):
    def again(adata):
        if not in_a_file:
            bgf.tl.cluster(adata, seed=1, max_steps=3, verbose=False)
            return adata
        path = tmp_path / "cells.h5ad"
        adata.write_h5ad(path)
        words = ("cluster", path, "-o", path, "--force", "--seed", 1, "--max-steps", 3, "--quiet")
        assert main([str(word) for word in words]) == 0
        return anndata.read_h5ad(path)

    bgf.tl.cluster(cells, max_steps=3, verbose=False)
    for there, kept in ((0.0, False), (1.0, True)):
        cells.obsm["X_bgformer_umap"] = np.zeros((cells.n_obs, 2))
        cells.obsm["X_umap"] = np.full((cells.n_obs, 2), there)
        assert ("X_umap" in again(cells.copy()).obsm) == kept


def test_cells_on_disk(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    bgf.tl.cluster(backed, max_steps=5, verbose=False)
    in_memory = bgf.tl.cluster(backed, max_steps=5, verbose=False, copy=True)
    bgf.tl.cluster(cells, max_steps=5, verbose=False)
    for found in (backed, in_memory):
        pd.testing.assert_series_equal(found.obs["bgformer"], cells.obs["bgformer"])
    assert not in_memory.isbacked
    backed.file.close()


@pytest.mark.filterwarnings("ignore::anndata.ImplicitModificationWarning")
def test_a_view_gives_what_its_copy_gives(pbmc700):
    view = pbmc700[100:250]
    copied = view.copy()
    for adata in (view, copied):
        bgf.tl.cluster(adata, max_steps=5, verbose=False)
    pd.testing.assert_series_equal(view.obs["bgformer"], copied.obs["bgformer"])
    assert "bgformer" not in pbmc700.obs


def test_batches_are_noted(cells):
    cells.obs["donor"] = np.where(np.arange(150) % 2, "a", "b")
    bgf.tl.cluster(cells, batch_key="donor", max_steps=3, verbose=False)
    assert cells.uns["bgformer"]["params"]["batch_key"] == "donor"


def test_one_and_two_threads_in_two_processes_give_the_same(run_python, clustered, tmp_path):
    found = []
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        path = tmp_path / f"{threads}.npz"
        variables = dict.fromkeys(names, threads)
        done = run_python("-c", THREADED_RUN, threads, path, **variables)
        assert done.returncode == 0, done.stderr
        found.append(np.load(path))
    for name in ("labels", "latent"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
    # And in a third, this one.
    np.testing.assert_array_equal(found[0]["labels"], clustered.obs["bgformer"].to_numpy(str))
    np.testing.assert_array_equal(found[0]["latent"], clustered.obsm["X_bgformer"])


@pytest.mark.parametrize("taken", ["grp", "grp_confidence"])
def test_a_column_of_the_users_own_is_not_overwritten(cells, unchanged, taken):
    cells.obs[taken] = "mine"
    with unchanged(cells), pytest.raises(ValueError, match=f"column '{taken}' that is not from"):
        bgf.tl.cluster(cells, key_added="grp", max_steps=2, verbose=False)


def test_results_of_an_earlier_run_are_replaced(clustered):
    bgf.tl.cluster(clustered, max_steps=2, seed=1, verbose=False)
    assert clustered.uns["bgformer"]["seed"] == 1


@pytest.mark.parametrize("key", [None, "", 3])
def test_the_name_of_the_results_must_be_a_name(cells, unchanged, key):
    with unchanged(cells), pytest.raises(ValueError, match="give the name of the results"):
        bgf.tl.cluster(cells, key_added=key, max_steps=2, verbose=False)


def test_resolution_and_number_contradict_each_other(clustered, unchanged, model):
    with unchanged(clustered), pytest.raises(ValueError, match="not both"):
        bgf.tl.recluster(clustered, resolution=1.0, n_clusters=3)
    with unchanged(clustered), pytest.raises(ValueError, match="not both"):
        bgf.tl.cluster(clustered, resolution=1.0, n_clusters=3)
    with pytest.raises(ValueError, match="not both"):
        model.recluster(resolution=1.0, n_clusters=3)


@pytest.fixture(scope="module")
def _single(one_type):
    with pytest.warns(UserWarning, match="^one cluster, because no group of cells is separated"):
        return bgf.tl.cluster(one_type, max_steps=20, seed=0, verbose=False, copy=True)


@pytest.fixture
def single(_single):
    """Simulated cells of one type, clustered with neither number nor resolution given."""
    return _single.copy()


def test_cells_of_one_type_are_one_cluster(single):
    assert list(single.obs["bgformer"].cat.categories) == ["0"]
    assert single.uns["bgformer"]["n_clusters"] == 1


def test_one_cluster_for_want_of_evidence_is_not_certain(single):
    assert single.obs["bgformer_confidence"].mean() < 0.9
    assert single.uns["bgformer"]["n_considered"] > 1


def test_cells_of_two_types_are_two_clusters(two_types):
    found = bgf.tl.cluster(two_types, max_steps=20, verbose=False, copy=True)
    assert found.obs["bgformer"].nunique() > 1
    share = pd.crosstab(found.obs["bgformer"], found.obs["type"], normalize="index")
    assert (share.max(axis=1) > 0.95).all()


def test_clusters_that_were_considered_are_said_without_progress_too(one_type):
    with pytest.warns(UserWarning, match="one cluster") as caught:
        found = bgf.tl.cluster(one_type, max_steps=20, seed=0, verbose=False, copy=True)
    said = str(caught[0].message)
    considered = found.uns["bgformer"]["n_considered"]
    assert f"{considered} clusters without such evidence were considered" in said
    bgf.tl.recluster(found, resolution=DEFAULT_RESOLUTION)
    assert found.obs["bgformer"].nunique() == considered


@pytest.mark.parametrize("asked", [{"resolution": 0.8}, {"n_clusters": 3}])
def test_cells_of_one_type_are_cut_if_asked_for(one_type, asked):
    found = bgf.tl.cluster(one_type, **asked, max_steps=20, verbose=False, copy=True)
    assert found.uns["bgformer"]["n_clusters"] > 1


def test_a_resolution_cuts_one_type_and_no_resolution_makes_it_whole_again(single):
    whole = single.obs.copy()
    bgf.tl.recluster(single, resolution=0.8)
    assert single.obs["bgformer"].nunique() > 1
    with pytest.warns(UserWarning, match="^one cluster"):
        bgf.tl.recluster(single)
    pd.testing.assert_frame_equal(single.obs, whole)


def test_one_type_is_one_cluster_again_after_a_file(single, tmp_path):
    bgf.tl.recluster(single, resolution=0.8)
    single.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    with pytest.warns(UserWarning, match="^one cluster"):
        bgf.tl.recluster(read)
    assert read.uns["bgformer"]["n_clusters"] == 1


def test_cells_of_several_types_are_reclustered_as_they_were(clustered):
    before = clustered.obs.copy()
    bgf.tl.recluster(clustered, n_clusters=2)
    bgf.tl.recluster(clustered)
    pd.testing.assert_frame_equal(clustered.obs, before)


def test_parts_of_two_fits_are_not_clustered_again_as_one(clustered, pbmc700):
    other = bgf.tl.cluster(pbmc700, max_steps=20, seed=1, verbose=False, copy=True)
    both = anndata.concat([clustered[:200], other[200:400]], uns_merge="first")
    message = "200 of 400 cells are of another fit than the results named 'bgformer'"
    for use in (bgf.tl.recluster, bgf.tl.resolutions, bgf.pl.evidence, bgf.pl.embedding):
        with pytest.raises(ValueError, match=message):
            use(both)


def test_cells_of_one_fit_are_known_in_any_order_and_from_a_file(clustered, tmp_path):
    order = np.random.default_rng(0).permutation(clustered.n_obs)
    turned = clustered[order].copy()
    turned.obs_names = [f"cell{i}" for i in range(turned.n_obs)]
    turned.write_h5ad(tmp_path / "turned.h5ad")
    again = anndata.read_h5ad(tmp_path / "turned.h5ad")
    bgf.tl.recluster(again, resolution=1.5)
    bgf.tl.recluster(again[100:250].copy(), resolution=1.5)
    bgf.tl.recluster(clustered, resolution=1.5)
    labels = clustered.obs["bgformer"].to_numpy()[order]
    assert adjusted_rand_score(labels, again.obs["bgformer"]) == 1


def test_no_cells_are_said_to_be_none(clustered):
    with pytest.raises(ValueError, match="adata has no cells; choose some"):
        bgf.tl.recluster(clustered[:0].copy())


def test_what_other_tools_have_stored_is_never_overwritten(cells, unchanged):
    cells.obs["leiden"] = "0"
    cells.uns["leiden"] = {"params": {"resolution": 1}}
    message = "adata.obs has a column 'leiden' that is not from bgformer"
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, key_added="leiden", max_steps=3, verbose=False)
    del cells.obs["leiden"]
    message = "adata.uns has an entry 'leiden' that is not from bgformer"
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, key_added="leiden", max_steps=3, verbose=False)
    cells.obsm["X_mine"] = np.zeros((cells.n_obs, 2))
    message = "adata.obsm has an entry 'X_mine' that is not from bgformer"
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, key_added="mine", max_steps=3, verbose=False)


def test_a_name_that_cannot_be_stored_is_refused(clustered, unchanged):
    clustered.obs.index.name = "barcode"
    names = ["a/b", "/", ".", "_index", "barcode", "__x", "zarr.json", ".zgroup", "a\0b", "\udc80"]
    for name in names:
        with unchanged(clustered), pytest.raises(ValueError, match="cannot name a column"):
            bgf.tl.cluster(clustered, key_added=name, max_steps=3, verbose=False)
        with unchanged(clustered), pytest.raises(ValueError, match="cannot name a column"):
            bgf.tl.recluster(clustered, cluster_name=name)


def test_a_name_that_is_too_long_for_a_file_is_refused(clustered):
    with pytest.raises(ValueError, match="key_added has 201 characters; choose a name of at most"):
        bgf.tl.cluster(clustered, key_added="x" * 201, max_steps=3, verbose=False)


@pytest.mark.parametrize("key", [None, [], 3, "", "a/b"])
def test_a_name_without_results_is_said_to_have_none(clustered, key):
    for use in (bgf.tl.recluster, bgf.tl.resolutions, bgf.pl.evidence, bgf.tl.results):
        with pytest.raises(ValueError, match=r"adata has no results named .*; run bgformer.tl"):
            use(clustered, key_added=key) if use is not bgf.tl.results else use(clustered, key)


def set_uns(*path):
    def change(adata, value):
        part = adata.uns["bgformer"]
        for name in path[:-1]:
            part = part[name]
        if value is None:
            del part[path[-1]]
        else:
            part[path[-1]] = value

    return change


def set_obsm(name):
    def change(adata, value):
        adata.obsm[name] = value(adata.obsm[name])

    return change


def first_nan(values):
    values = values.copy()
    (values.data if sparse.issparse(values) else values)[:1] = np.nan
    return values


def doubled(weights):
    return weights * 2


@pytest.mark.parametrize(
    ("change", "value", "reason"),
    [
        (set_uns("params"), [1], "'list' object"),
        (set_uns("params", "min_cells"), None, "'min_cells' is missing"),
        (set_uns("params", "min_cells"), "x", "min_cells is 'x'"),
        (set_uns("params", "objective"), 3, "argument after"),
        (set_uns("params", "layer"), 3, "'layer' is not a name"),
        (set_uns("seed"), None, "'seed' is missing"),
        (set_uns("seed"), "x", "seed is 'x'"),
        (set_uns("resolution"), -1, "resolution is -1"),
        (set_uns("resolution"), "x", "ufunc"),
        (set_uns("n_clusters"), 99, "'n_clusters' is 99"),
        (set_uns("n_considered"), None, "'n_considered' is missing"),
        (set_uns("n_cells"), 5, "'cells' are not"),
        (set_uns("cells"), np.zeros(700), "'cells' are not"),
        (set_uns("anchors"), 3, "not enough values"),
        (set_uns("anchors"), np.full((70, 32), np.nan), "'anchors' are not finite"),
        (set_uns("anchor_clusters"), np.ones(3), "'anchor_clusters' are not"),
        (set_uns("links"), np.ones((3, 3)), "'links' is not"),
        (set_uns("genes"), None, "'genes' is missing"),
        (set_uns("genes"), np.ones(3), "'genes' are not names"),
        (set_uns("profiles", "total"), None, "'total' is missing"),
        (set_uns("profiles", "total"), np.ones((2, 3)), "'profiles.total' has the shape"),
        (set_uns("profiles"), "x", "string indices"),
        (set_uns("evidence"), {"a": 1}, "'evidence' is not a table"),
        (set_uns("history"), {"step": [1]}, "'loss' is missing"),
        (set_obsm("X_bgformer"), first_nan, "not finite numbers"),
        (set_obsm("bgformer_anchors"), first_nan, "do not sum to 1"),
        (set_obsm("bgformer_anchors"), doubled, "do not sum to 1"),
    ],
)
def test_damaged_results_are_said_to_be_damaged(clustered, change, value, reason):
    change(clustered, value)
    place = r"adata\.(uns\['bgformer'\]|obsm\['.*'\])"
    for use in (bgf.tl.recluster, bgf.tl.resolutions, bgf.pl.training):
        with pytest.raises(ValueError, match=rf"^{place} is damaged \(.*{reason}.*\); run bgf"):
            use(clustered)


@pytest.mark.parametrize("place", ["obs", "obs_confidence", "X_bgformer", "bgformer_anchors"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_what_has_taken_the_place_of_results_is_not_overwritten(
    clustered, tmp_path, place, on_disk
):
    if place == "obs":
        clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"0": "B"})
    elif place == "obs_confidence":
        clustered.obs["bgformer_confidence"] = "high"
    else:
        clustered.obsm[place] = np.ones((clustered.n_obs, 32), dtype=np.float32)
    message = "from bgformer and would be overwritten"
    if place == "obs":
        message = "'bgformer' in adata.obs have been renamed or changed since, and would be over"
    if on_disk:
        clustered.write_h5ad(tmp_path / "cells.h5ad")
        with opened(tmp_path / "cells.h5ad") as cells, pytest.raises(ValueError, match=message):
            check_key(cells, "bgformer")
    else:
        with pytest.raises(ValueError, match=message):
            bgf.tl.cluster(clustered, max_steps=2, verbose=False)


def test_entries_that_only_have_the_names_of_results_are_not_overwritten(cells, unchanged):
    cells.uns["bgformer"] = {"anchor_clusters": [1, 2]}
    with unchanged(cells), pytest.raises(ValueError, match=r"uns has an entry 'bgformer'"):
        bgf.tl.cluster(cells, max_steps=2, verbose=False)
    del cells.uns["bgformer"]
    cells.obs["bgformer"], cells.obs["bgformer_confidence"] = "mine", 0.5
    cells.obsm["X_bgformer"] = cells.obsm["bgformer_anchors"] = np.ones((cells.n_obs, 3))
    with unchanged(cells), pytest.raises(ValueError, match=r"obs has a column 'bgformer'"):
        bgf.tl.cluster(cells, max_steps=2, verbose=False)


def test_clusters_changed_cell_by_cell_are_not_overwritten_by_reclustering(clustered, unchanged):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.add_categories("doublet")
    clustered.obs.iloc[0, clustered.obs.columns.get_loc("bgformer")] = "doublet"
    message = "clusters 'bgformer' in adata.obs have been changed cell by cell .* cluster_name"
    with unchanged(clustered), pytest.raises(ValueError, match=message):
        bgf.tl.recluster(clustered, n_clusters=2)
    bgf.tl.recluster(clustered, n_clusters=2, cluster_name="two")
    assert "doublet" in set(clustered.obs["bgformer"])


def test_clusters_that_were_added_beside_results_are_called_so(clustered, unchanged):
    bgf.tl.recluster(clustered, n_clusters=2, cluster_name="two")
    message = "key_added is 'two', which names clusters that bgformer.tl.recluster added; choose"
    with unchanged(clustered), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(clustered, key_added="two", max_steps=2, verbose=False)


def test_clusters_of_another_run_are_not_replaced_without_its_evidence(clustered, unchanged):
    bgf.tl.cluster(clustered, key_added="other", max_steps=3, resolution=1, verbose=False)
    message = "cluster_name is 'other', the name of other results of bgformer"
    with unchanged(clustered), pytest.raises(ValueError, match=message):
        bgf.tl.recluster(clustered, cluster_name="other", n_clusters=2)


def test_a_umap_of_the_users_own_is_kept(cells, unchanged):
    cells.obsm["X_bgformer_umap"] = np.zeros((cells.n_obs, 2))
    message = "adata.obsm has an entry 'X_bgformer_umap' that is not from bgformer"
    with unchanged(cells), pytest.raises(ValueError, match=message):
        bgf.tl.cluster(cells, max_steps=3, verbose=False)


def test_cells_that_are_there_twice_are_noticed_among_fewer(clustered):
    twice = anndata.concat([clustered[:200], clustered[:100]], index_unique="-", uns_merge="first")
    with pytest.raises(ValueError, match="100 of 300 cells are of another fit"):
        bgf.tl.recluster(twice)


def test_one_cluster_for_want_of_evidence_is_said_when_clustering_again(single):
    with pytest.warns(UserWarning, match="^one cluster, because no group of cells is separated"):
        bgf.tl.recluster(single)


def test_a_part_of_a_backed_anndata_is_refused_before_the_fit(clustered, tmp_path):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ValueError, match="a part of a backed AnnData"):
        bgf.tl.cluster(backed[:100], verbose=False)
    backed.file.close()


def test_what_is_no_anndata_is_said_to_be_none():
    with pytest.raises(TypeError, match="adata is a NoneType; give an AnnData"):
        bgf.tl.recluster(None)


def test_cells_of_two_fits_are_not_clustered_again_as_one(clustered):
    few, rest = clustered[:300].copy(), clustered[300:].copy()
    both = anndata.concat([few, rest, few], index_unique="-", uns_merge="first")
    with pytest.raises(ValueError, match="or there twice, as after anndata"):
        bgf.tl.recluster(both, resolution=1)
    fewer_anchors = clustered.copy()
    fewer_anchors.obsm["bgformer_anchors"] = clustered.obsm["bgformer_anchors"][:, :-5]
    with pytest.raises(ValueError, match="700 of 700 cells are of another fit"):
        bgf.tl.recluster(fewer_anchors, resolution=1)


def test_concatenated_cells_can_be_clustered_anew(clustered):
    both = anndata.concat([clustered[:150], clustered[150:200]])
    assert "bgformer" not in both.uns
    assert "bgformer" in both.obs
    bgf.tl.cluster(both, max_steps=3, verbose=False)
    assert both.uns["bgformer"]["n_cells"] == 200


def named(counts):
    """Return cells with these counts and names of their own."""
    cells = anndata.AnnData(np.asarray(counts, dtype=np.float32))
    cells.obs_names = [f"cell{i}" for i in range(cells.n_obs)]
    cells.var_names = [f"gene{i}" for i in range(cells.n_vars)]
    return cells


@pytest.mark.parametrize("asked", [{}, {"resolution": 1.0}, {"n_clusters": "number of groups"}])
@pytest.mark.parametrize(("n_groups", "n_each"), [(2, 150), (3, 100), (10, 20)])
def test_identical_cells_are_clusters(n_groups, n_each, asked):
    asked = {name: n_groups if name == "n_clusters" else value for name, value in asked.items()}
    counts = np.random.default_rng(0).poisson(5, (n_groups, 200))
    cells = named(np.repeat(counts, n_each, axis=0))
    bgf.tl.cluster(cells, max_steps=5, verbose=False, **asked)
    groups = np.repeat(np.arange(n_groups), n_each)
    assert adjusted_rand_score(groups, cells.obs["bgformer"]) == 1
    assert cells.obs["bgformer_confidence"].between(0.5, 1).all()


def test_cells_that_are_all_identical_are_one_cluster():
    cells = named(np.tile(np.random.default_rng(0).poisson(0.5, 100), (45, 1)))
    bgf.tl.cluster(cells, max_steps=5, verbose=False)
    assert cells.obs["bgformer"].nunique() == 1
    assert np.isfinite(cells.obsm["X_bgformer"]).all()


def test_identical_cells_among_others_are_a_cluster():
    rng = np.random.default_rng(0)
    one, other = rng.gamma(1, 3, size=(2, 300))
    cells = named(np.vstack([[rng.poisson(one)] * 100, rng.poisson(other, (200, 300))]))
    bgf.tl.cluster(cells, max_steps=5, verbose=False)
    assert adjusted_rand_score([0] * 100 + [1] * 200, cells.obs["bgformer"]) == 1


def test_a_flag_is_checked_before_the_fit(cells, monkeypatch):
    monkeypatch.setattr("bgformer.tl.clustering.fit_model", None)
    for name in ("copy", "verbose"):
        with pytest.raises(ValueError, match=f"{name} is 'yes'; it must be True or False"):
            bgf.tl.cluster(cells, **{name: "yes"})


BLANK = np.hstack([np.ones((20, 50)), np.zeros((20, 5))])
BLANK[:5] = 0
BLANK[np.arange(5), 50 + np.arange(5)] = 3
ONE_RICH = np.ones((80, 30))
ONE_RICH[5] = 1_000_000


@pytest.mark.parametrize(
    ("counts", "batch", "warning"),
    [
        (np.random.default_rng(0).poisson(3, (60, 2)) + 1, None, "one cluster, because"),
        (np.random.default_rng(0).poisson(1, (20, 200)), None, None),
        (ONE_RICH, None, None),
        (BLANK, None, "5 cells have no counts in the 50 genes used"),
        (np.random.default_rng(0).poisson(1, (60, 100)), ["a"] * 59 + ["b"], None),
        (
            np.repeat(np.eye(2)[:, [0] * 5 + [1] * 5] * 4, 30, axis=0),
            ["a"] * 30 + ["b"] * 30,
            None,
        ),
        (np.repeat(np.eye(4), 20, axis=0) * 7, None, None),
    ],
    ids=[
        "2 genes",
        "20 cells",
        "1 rich",
        "blank",
        "batch of 1",
        "batches are types",
        "1 gene each",
    ],
)
def test_odd_counts_give_finite_results(counts, batch, warning):
    cells = named(counts)
    cells.obs["batch"] = "a" if batch is None else batch
    key = None if batch is None else "batch"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(UserWarning, match=warning) if warning else nullcontext():
            bgf.tl.cluster(cells, batch_key=key, max_steps=5, verbose=False)
    assert np.isfinite(cells.obsm["X_bgformer"]).all()
    assert cells.obs["bgformer_confidence"].between(0, 1).all()


def test_the_evidence_of_some_cells_is_of_these_cells(clustered):
    whole = clustered.uns["bgformer"]["evidence"]
    some = clustered[clustered.obs["bgformer"] == "0"].copy()
    bgf.tl.recluster(some, n_clusters=2)
    table = some.uns["bgformer"]["evidence"]
    assert table["n_cells"].sum() == some.n_obs < whole["n_cells"].sum()
    # nothing of the other clusters' cells and genes is left in the profiles of these
    profiles = Profiles(**clustered.uns["bgformer"]["profiles"])
    here = of_some(profiles, some.obsm["bgformer_anchors"])
    assert len(here.nearest) == here.cells.sum() < 1.5 * some.n_obs * len(profiles.nearest) / 700
    assert (here.detected.sum(axis=1) > 0).sum() == (here.cells > 0).sum()


@pytest.mark.parametrize("name", ["", ["a"], 5, np.array(["a", "b"])])
def test_a_column_is_named_by_a_string(clustered, unchanged, name):
    with unchanged(clustered), pytest.raises(ValueError, match=r"^cluster_name is .*string"):
        bgf.tl.recluster(clustered, resolution=1, cluster_name=name)


@pytest.mark.parametrize("n_fits", [-1, 10**9, 1.5, [1], None])
def test_models_to_retrain_are_a_number_that_can_be_meant(clustered, n_fits):
    with pytest.raises(
        ValueError, match=r"^n_fits is .*; it must be a whole number from 0 to 1000"
    ):
        bgf.tl.resolutions(clustered, [1.0], n_fits=n_fits)
