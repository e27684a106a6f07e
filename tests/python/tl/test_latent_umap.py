"""The UMAP as a tool: where it is stored, and what it cannot be made of."""

import numpy as np
import pytest

import bgformer as bgf


def test_the_umap_of_the_plots_can_be_computed_before(clustered, drawn):
    copied = bgf.tl.umap(clustered, copy=True)
    assert "X_bgformer_umap" not in clustered.obsm
    assert bgf.tl.umap(clustered) is None
    for adata in (copied, clustered):
        for place in ("X_bgformer_umap", "X_umap"):
            np.testing.assert_array_equal(adata.obsm[place], drawn.obsm["X_bgformer_umap"])
        assert adata.uns["umap"]["params"]["use_rep"] == "X_bgformer"
    assert clustered.obsm["X_bgformer_umap"].dtype == np.float32


def test_a_umap_survives_a_file(clustered, tmp_path):
    import anndata

    bgf.tl.umap(clustered)
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    again = anndata.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(again.obsm["X_bgformer_umap"], clustered.obsm["X_bgformer_umap"])
    again.obsm["X_bgformer_umap"] += 1
    bgf.tl.umap(again)  # from what was read
    np.testing.assert_array_equal(again.obsm["X_bgformer_umap"], clustered.obsm["X_bgformer_umap"])


def test_a_umap_of_the_user_stays(clustered):
    bgf.tl.umap(clustered)
    mine = np.ones((clustered.n_obs, 2))
    clustered.obsm["X_umap"] = mine
    clustered.uns["umap"] = "mine"
    bgf.tl.umap(clustered)
    np.testing.assert_array_equal(clustered.obsm["X_umap"], mine)
    assert clustered.uns["umap"] == "mine"


def test_three_cells_are_placed(clustered):
    few = clustered[:3].copy()
    bgf.tl.umap(few)
    assert np.isfinite(few.obsm["X_bgformer_umap"]).all()


def test_what_has_no_umap_is_said(clustered, cells):
    with pytest.raises(ValueError, match="has no results named 'bgformer'"):
        bgf.tl.umap(cells)
    with pytest.raises(TypeError, match="give an AnnData"):
        bgf.tl.umap(cells.X)
    with pytest.raises(ValueError, match="copy is 'yes'"):
        bgf.tl.umap(clustered, copy="yes")
    clustered.obsm["X_bgformer_umap"] = np.zeros((clustered.n_obs, 3))
    with pytest.raises(ValueError, match="'X_bgformer_umap' that is not from bgformer"):
        bgf.tl.umap(clustered)
    others = clustered.copy()
    others.obsm["X_bgformer"] = others.obsm["X_bgformer"] + 1
    with pytest.raises(ValueError, match="are of another fit"):
        bgf.tl.umap(others)
