"""Number and stability of clusters at each resolution."""

import anndata
import numpy as np
import pandas as pd
import pytest

import bgformer as bgf


def test_resolutions_are_a_table(clustered, unchanged):
    with unchanged(clustered):
        table = bgf.tl.resolutions(clustered, [2, 0.1, 0.5])
    assert list(table.columns) == ["resolution", "n_clusters", "stability"]
    assert list(table["resolution"]) == [0.1, 0.5, 2]
    assert table["stability"].between(-1, 1).all()


def test_the_number_of_clusters_grows_with_the_resolution(clustered):
    table = bgf.tl.resolutions(clustered, [0.05, 1, 4])
    assert table["n_clusters"].is_monotonic_increasing
    assert table["n_clusters"].iloc[-1] > table["n_clusters"].iloc[0]
    for resolution, number in zip(table["resolution"], table["n_clusters"], strict=True):
        bgf.tl.recluster(clustered, resolution=resolution)
        assert clustered.uns["bgformer"]["n_clusters"] == number


def test_clusters_that_are_there_are_more_stable_than_those_that_are_not(one_type, two_types):
    single = bgf.tl.cluster(one_type, resolution=3, max_steps=20, verbose=False, copy=True)
    two = bgf.tl.cluster(two_types, max_steps=20, verbose=False, copy=True)
    there = bgf.tl.resolutions(two, [0.1])
    cut = bgf.tl.resolutions(single, [3])
    assert there["stability"].item() > 0.95 > cut["stability"].item() + 0.03


def test_resolutions_are_the_same_again(clustered):
    one, two = (bgf.tl.resolutions(clustered, [1.0]) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_models_trained_anew_agree_less_than_draws_of_the_cells(clustered, unchanged):
    with unchanged(clustered):
        table = bgf.tl.resolutions(clustered, [0.1, 1], n_fits=2)
    assert list(table.columns) == ["resolution", "n_clusters", "stability", "retrained"]
    assert table["retrained"].between(0.2, 1).all()
    assert table["retrained"].mean() < table["stability"].mean()
    again = bgf.tl.resolutions(clustered, [0.1, 1], n_fits=2)
    pd.testing.assert_frame_equal(again, table)


def test_models_trained_anew_need_counts(clustered):
    clustered.X = clustered.X.astype(float) / 3
    with pytest.raises(bgf.CountsError):
        bgf.tl.resolutions(clustered, [1], n_fits=1)


def test_models_can_be_trained_anew_from_a_file(clustered, tmp_path):
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    there = bgf.tl.resolutions(clustered, [1], n_fits=1)
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    pd.testing.assert_frame_equal(bgf.tl.resolutions(backed, [1], n_fits=1), there)
    backed.file.close()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "resolutions is empty; give at least one resolution"),
        ([1, 0], "resolution is 0; it must be a number above 0"),
        ("1", "resolutions is '1'; it must be a list of numbers above 0"),
        (np.array(1), r"resolutions is array\(1\); it must be a list of numbers above 0"),
        (1.0, "resolutions is 1.0; it must be a list of numbers above 0"),
        (None, "resolutions is None; it must be a list of numbers above 0"),
        ([[1.0]], r"resolution is \[1.0\]; it must be a number above 0"),
        ([10**400], "resolution is 10+...; it must be a number above 0"),
        (["high"], "resolution is 'high'; it must be a number above 0"),
    ],
)
def test_resolutions_that_cannot_be_meant(clustered, wanted, message):
    with pytest.raises(ValueError, match=message):
        bgf.tl.resolutions(clustered, wanted)


def test_resolutions_without_results(cells):
    with pytest.raises(ValueError, match="adata has no results named 'bgformer'"):
        bgf.tl.resolutions(cells)
