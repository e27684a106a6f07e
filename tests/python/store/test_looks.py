"""Names and colours of clusters."""

import anndata
import numpy as np
import pytest

import bgformer as bgf


def renamed(adata, names):
    adata.obs["bgformer"] = adata.obs["bgformer"].cat.rename_categories(names)


def colours(adata, name="bgformer"):
    categories = adata.obs[name].cat.categories
    return dict(zip(categories, adata.uns[f"{name}_colors"], strict=True))


def cells_of(adata, name="bgformer"):
    """The cells of each cluster, as sets of numbers."""
    return {k: frozenset(v) for k, v in adata.obs.groupby(name, observed=True).indices.items()}


def test_names_survive_reclustering_at_the_same_resolution(clustered):
    renamed(clustered, {"0": "large", "2": "B cells"})
    before = clustered.obs["bgformer"].copy()
    bgf.tl.recluster(clustered)
    assert list(clustered.obs["bgformer"]) == list(before)
    bgf.tl.recluster(clustered, cluster_name="again")
    assert list(clustered.obs["again"]) == list(before)


def test_names_survive_a_file_and_a_subset(clustered, tmp_path):
    table = clustered.uns["bgformer"]["evidence"]
    apart = table["links"].where(table["n_cells"] > 60).idxmin()  # which stays in any large part
    renamed(clustered, {table["cluster"][apart]: "apart"})
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    bgf.tl.recluster(read)
    assert list(read.obs["bgformer"]) == list(clustered.obs["bgformer"])
    part = read[np.arange(700) % 10 > 0].copy()
    part.obs["bgformer"] = part.obs["bgformer"].astype(str)  # as a map of names returns
    bgf.tl.recluster(part, resolution=0.8)
    assert "apart" in set(part.obs["bgformer"])


def test_two_clusters_may_have_one_name(clustered):
    is_large = clustered.obs["bgformer"] == "0"
    clustered.obs["bgformer"] = np.where(is_large, "large", "others")
    bgf.tl.recluster(clustered)
    assert set(clustered.obs["bgformer"]) == {"large", "others"}
    assert len(clustered.uns["bgformer_colors"]) == 2
    assert clustered.uns["bgformer"]["n_clusters"] > 2


def test_a_name_of_two_clusters_does_not_stay_with_one_of_them(clustered):
    n_clusters = clustered.uns["bgformer"]["n_clusters"]
    rarest = str(n_clusters - 1)
    both = clustered.obs["bgformer"].isin(["0", rarest])
    clustered.obs["bgformer"] = clustered.obs["bgformer"].astype(str).mask(both, "X")
    with pytest.warns(UserWarning, match="their names are gone: 'X'"):
        bgf.tl.recluster(clustered, resolution=4.0)
    assert "X" not in set(clustered.obs["bgformer"])


def test_only_clusters_with_the_same_cells_keep_their_names(clustered):
    n_clusters = clustered.uns["bgformer"]["n_clusters"]
    names = {str(number): f"type {number}" for number in range(n_clusters)}
    renamed(clustered, names)
    before = cells_of(clustered)
    with pytest.warns(UserWarning, match="their names are gone: 'type"):
        bgf.tl.recluster(clustered, n_clusters=n_clusters - 1)
    after = cells_of(clustered)
    kept = [name for name in after if name in before]
    assert n_clusters - 2 <= len(kept) < n_clusters  # a large cluster may stay what it was
    for name in kept:  # but for cells at their borders
        assert len(after[name] & before[name]) > 0.9 * len(after[name] | before[name])


def test_a_cluster_whose_cells_stay_keeps_its_colour(clustered):
    for resolution in (0.3, 0.8, 2.0, 3.0, 0.8, 0.2):
        before, colour = cells_of(clustered), colours(clustered)
        bgf.tl.recluster(clustered, resolution=resolution)
        after, now = cells_of(clustered), colours(clustered)
        number = {cells: name for name, cells in before.items()}
        for name, cells in after.items():
            if cells in number:
                assert now[name] == colour[number[cells]]
        assert len(set(now.values())) == len(now)


def test_a_split_cluster_leaves_its_colour_to_the_larger_part(clustered):
    bgf.tl.recluster(clustered, n_clusters=2)
    before, colour = cells_of(clustered), colours(clustered)
    bgf.tl.recluster(clustered, n_clusters=3, cluster_name="three")
    after, now = cells_of(clustered, "three"), colours(clustered, "three")
    for name, cells in before.items():
        heir = max(after, key=lambda part, cells=cells: len(after[part] & cells))
        assert now[heir] == colour[name]


def test_colours_of_the_users_own_stay(clustered):
    clustered.uns["bgformer_colors"] = ["red", *clustered.uns["bgformer_colors"][1:]]
    bgf.tl.recluster(clustered, resolution=clustered.uns["bgformer"]["resolution"])
    assert colours(clustered)["0"] == "red"


def test_more_clusters_than_colours(clustered):
    bgf.tl.recluster(clustered, n_clusters=40)
    given = list(clustered.uns["bgformer_colors"])
    assert len(given) == 40
    assert np.unique(given, return_counts=True)[1].max() <= 2
