"""Clusters that are divided again."""

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf

QUIET = {"verbose": False}


@pytest.fixture(scope="module")
def _divided(_clustered):
    adata = _clustered.copy()
    bgf.tl.subcluster(adata, "0", resolution=0.8, **QUIET)
    return adata


@pytest.fixture
def divided(_divided):
    """The 700 cells with their largest cluster divided."""
    return _divided.copy()


def test_parts_are_beside_the_clusters(clustered, divided):
    pd.testing.assert_series_equal(divided.obs["bgformer"], clustered.obs["bgformer"])
    of_0 = (divided.obs["bgformer"] == "0").to_numpy()
    parts, rest = divided.obs["bgformer_sub"][of_0], divided.obs["bgformer_sub"][~of_0]
    assert set(parts) == {f"0.{number}" for number in range(parts.nunique())}
    assert parts.nunique() > 1
    assert list(rest) == list(divided.obs["bgformer"][~of_0])
    sizes = [int((parts == f"0.{number}").sum()) for number in range(parts.nunique())]
    assert sizes == sorted(sizes, reverse=True)
    names = list(divided.obs["bgformer_sub"].cat.categories)
    assert names == [*sorted(set(parts)), *sorted(set(rest), key=int)]
    confidence = divided.obs["bgformer_sub_confidence"].to_numpy()
    before = divided.obs["bgformer_confidence"].to_numpy()
    np.testing.assert_array_equal(confidence[~of_0], before[~of_0])
    assert 0 <= confidence.min() <= confidence.max() <= 1
    evidence = divided.uns["bgformer_sub"]["evidence"]
    assert set(evidence["cluster"]) == set(parts)
    assert set(evidence["nearest"]) <= set(parts)
    assert evidence["n_cells"].sum() == of_0.sum()


def test_it_is_a_fit_to_these_cells(pbmc700, divided):
    cells = divided.obs["bgformer"].to_numpy() == "0"
    params = divided.uns["bgformer"]["params"]
    alone = bgf.BGFormer(max_steps=params["max_steps"], resolution=0.8, verbose=False)
    alone.fit(pbmc700[cells].copy())
    parts = divided.obs["bgformer_sub"][cells].str.removeprefix("0.").astype(int)
    np.testing.assert_array_equal(alone.labels_, parts)


def test_parts_can_be_divided_and_put_together_again(divided):
    before = divided.obs["bgformer_sub"].astype(str)
    bgf.tl.subcluster(divided, "0.0", n_clusters=2, **QUIET)
    names = divided.obs["bgformer_sub"].astype(str)
    assert set(names[before == "0.0"]) == {"0.0.0", "0.0.1"}
    assert list(names[before != "0.0"]) == list(before[before != "0.0"])
    assert set(divided.uns["bgformer_sub"]["splits"]["cluster"]) == {"0", "0.0"}
    bgf.tl.subcluster(divided, "1", n_clusters=2, **QUIET)
    bgf.tl.subcluster(divided, 0, n_clusters=2, **QUIET)  # all of its parts
    assert set(divided.obs["bgformer_sub"]) >= {"0.0", "0.1", "1.0", "1.1"}
    assert not any(name.startswith("0.0.") for name in divided.obs["bgformer_sub"])
    assert set(divided.uns["bgformer_sub"]["splits"]["cluster"]) == {"0", "1"}
    evidence = divided.uns["bgformer_sub"]["evidence"]
    assert set(evidence["cluster"]) == {"0.0", "0.1", "1.0", "1.1"}


def test_clusters_can_be_divided_together(clustered):
    bgf.tl.subcluster(clustered, ["0", "2"], n_clusters=3, **QUIET)
    together = clustered.obs["bgformer"].isin(["0", "2"])
    assert set(clustered.obs["bgformer_sub"][together]) == {"0+2.0", "0+2.1", "0+2.2"}
    assert not clustered.obs["bgformer_sub"][~together].str.contains(".", regex=False).any()


def test_one_type_is_not_divided(clustered):
    with pytest.warns(UserWarning, match="cluster '2' is not divided, because no group of its"):
        bgf.tl.subcluster(clustered, "2", **QUIET)
    assert list(clustered.obs["bgformer_sub"]) == list(clustered.obs["bgformer"])
    with pytest.warns(UserWarning, match="cluster '0.2' is not divided|cluster '2' is not"):
        bgf.tl.subcluster(clustered, "2", **QUIET)


def test_colours_of_the_others_stay(divided):
    colours = dict(
        zip(divided.obs["bgformer"].cat.categories, divided.uns["bgformer_colors"], strict=True)
    )
    now = dict(
        zip(
            divided.obs["bgformer_sub"].cat.categories,
            divided.uns["bgformer_sub_colors"],
            strict=True,
        )
    )
    assert now["0.0"] == colours["0"]
    assert {name: now[name] for name in colours if name in now} == {
        name: colour for name, colour in colours.items() if name in now
    }
    assert len(set(now.values())) == len(now)


def test_results_survive_a_file(divided, tmp_path):
    divided.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    for adata in (read, divided):
        bgf.tl.subcluster(adata, "0.1", n_clusters=2, **QUIET)
    assert list(read.obs["bgformer_sub"]) == list(divided.obs["bgformer_sub"])


def test_names_of_the_users_own(clustered):
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories({"0": "T cells"})
    bgf.tl.subcluster(clustered, "T cells", n_clusters=2, cluster_name="types", **QUIET)
    assert {"T cells.0", "T cells.1"} <= set(clustered.obs["types"])


def test_counts_in_a_layer_and_batches(pbmc700):
    pbmc700.layers["counts"], pbmc700.X = pbmc700.X, None
    pbmc700.obs["sample"] = np.where(np.arange(pbmc700.n_obs) % 2, "a", "b")
    bgf.tl.cluster(pbmc700, layer="counts", batch_key="sample", max_steps=5, **QUIET)
    bgf.tl.subcluster(pbmc700, "0", n_clusters=2, **QUIET)
    assert {"0.0", "0.1"} <= set(pbmc700.obs["bgformer_sub"])


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ("99", r"there is no cluster '99' \(there: '0', '1'"),
        (None, "clusters is None; it must be the name"),
        ([], r"clusters is \[\]; it must be"),
        (0.5, "clusters is 0.5; it must be"),
    ],
)
def test_a_cluster_that_is_not_there(clustered, unchanged, clusters, message):
    with unchanged(clustered), pytest.raises(ValueError, match=message):
        bgf.tl.subcluster(clustered, clusters, **QUIET)


def test_too_few_cells(clustered, unchanged):
    sizes = clustered.obs["bgformer"].value_counts()
    smallest = sizes.index[-1]
    assert sizes[smallest] < 20
    with unchanged(clustered), pytest.raises(ValueError, match="too few to divide; at least 20"):
        bgf.tl.subcluster(clustered, smallest, **QUIET)


def test_a_column_of_the_users_own_is_not_overwritten(clustered, unchanged):
    clustered.obs["bgformer_sub"] = "mine"
    with unchanged(clustered), pytest.raises(ValueError, match="'bgformer_sub' that is not from"):
        bgf.tl.subcluster(clustered, "0", **QUIET)


def test_parts_of_other_clusters_are_not_taken_for_parts_of_these(divided, unchanged):
    bgf.tl.recluster(divided, n_clusters=3)
    message = "the clusters 'bgformer' have changed since 'bgformer_sub' was made from them"
    with unchanged(divided), pytest.raises(ValueError, match=message):
        bgf.tl.subcluster(divided, "1", **QUIET)
    bgf.tl.subcluster(divided, "1", n_clusters=2, cluster_name="other", **QUIET)
    assert {"1.0", "1.1"} <= set(divided.obs["other"])


def test_a_part_is_told_by_its_cells_and_not_by_its_name(clustered):
    names = {"0": "B", "1": "B.cell", "2": "0.1"}
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories(names)
    before = clustered.obs["bgformer"].astype(str)
    for _ in range(2):
        bgf.tl.subcluster(clustered, "B", n_clusters=2, **QUIET)
        after = clustered.obs["bgformer_sub"].astype(str)
        assert set(after[before == "B"]) == {"B.0", "B.1"}
        assert list(after[before != "B"]) == list(before[before != "B"])


def test_evidence_of_other_clusters_stays(clustered):
    names = {"0": "B", "1": "B.cell"}
    clustered.obs["bgformer"] = clustered.obs["bgformer"].cat.rename_categories(names)
    bgf.tl.subcluster(clustered, "B.cell", n_clusters=2, **QUIET)
    bgf.tl.subcluster(clustered, "B", n_clusters=2, **QUIET)
    bgf.tl.subcluster(clustered, "B.0", n_clusters=2, **QUIET)
    bgf.tl.subcluster(clustered, "B", n_clusters=2, **QUIET)
    table = clustered.uns["bgformer_sub"]["evidence"]
    assert set(table["cluster"]) == {"B.0", "B.1", "B.cell.0", "B.cell.1"}
    assert list(clustered.uns["bgformer_sub"]["splits"]["cluster"]) == ["B.cell", "B"]


def test_cells_that_were_divided_together_with_others_stay_together(divided, unchanged):
    joint = divided.obs["bgformer_sub"].astype(str).replace({"0.1": "joint", "2": "joint"})
    divided.obs["bgformer_sub"] = joint
    message = "cells of '0' were divided together with others, into 'joint'"
    with unchanged(divided), pytest.raises(ValueError, match=message):
        bgf.tl.subcluster(divided, "0", n_clusters=2, **QUIET)


def test_a_renamed_part_is_a_part_of_its_cluster(divided):
    of_0 = divided.obs["bgformer"] == "0"
    names = {"0.0": "naive"}
    divided.obs["bgformer_sub"] = divided.obs["bgformer_sub"].cat.rename_categories(names)
    bgf.tl.subcluster(divided, "naive", n_clusters=2, **QUIET)
    assert {"naive.0", "naive.1", "0.1"} <= set(divided.obs["bgformer_sub"])
    bgf.tl.subcluster(divided, "0", n_clusters=3, **QUIET)
    assert set(divided.obs["bgformer_sub"][of_0]) == {"0.0", "0.1", "0.2"}
    assert list(divided.obs["bgformer_sub"].cat.categories[:4]) == ["0.0", "0.1", "0.2", "1"]


def test_colours_that_are_gone_are_chosen_anew(clustered):
    del clustered.uns["bgformer_colors"]
    bgf.tl.subcluster(clustered, "0", n_clusters=2, **QUIET)
    given = list(clustered.uns["bgformer_sub_colors"])
    assert len(set(given)) == len(given) == clustered.obs["bgformer_sub"].nunique()
