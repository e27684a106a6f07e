"""The UMAP: it shows groups, also small ones, and depends on nothing but cells and seed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from bgformer.graph.umap import umap_of
from bgformer.network.anchor_weights import anchor_weights

FEW, MANY = 600, 10_400
"""Cells that are all optimised together, and cells that need landmarks."""
RARE = 10


def in_groups(n):
    """Cells of three types, and ten of a rare one that no anchor is near."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2, 3], [n // 2, n // 4, n - RARE - n // 2 - n // 4, RARE])
    latent = (12 * rng.normal(size=(4, 16))[group] + rng.normal(size=(n, 16))).astype(np.float32)
    anchors = latent[rng.choice(n - RARE, 128, replace=False)]
    return group, (latent, anchor_weights(latent, anchors), anchors)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_groups_are_apart_and_a_rare_one_is_a_group(n):
    group, cells = in_groups(n)
    places = umap_of(*cells, 0)
    assert places.shape == (n, 2)
    assert places.dtype == np.float32
    near = NearestNeighbors(n_neighbors=6).fit(places).kneighbors(return_distance=False)
    assert (group[near] == group[:, None]).mean() > 0.999
    assert (group[near[-RARE:]] == 3).all()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_the_same_in_another_process_and_with_other_threads(n, tmp_path):
    _, (latent, weights, anchors) = in_groups(n)
    np.savez(tmp_path / "cells.npz", latent=latent, anchors=anchors)
    sparse.save_npz(tmp_path / "weights.npz", weights)
    code = (
        "import sys, numpy as np; from scipy import sparse;"
        "from bgformer.graph.umap import umap_of;"
        "folder = sys.argv[1]; cells = np.load(f'{folder}/cells.npz');"
        "weights = sparse.load_npz(f'{folder}/weights.npz');"
        "np.save(f'{folder}/umap.npy', umap_of(cells['latent'], weights, cells['anchors'], 3))"
    )
    one = os.environ | {"OMP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=one)
    here = umap_of(latent, weights, anchors, 3)
    np.testing.assert_array_equal(np.load(tmp_path / "umap.npy"), here)
    assert not np.array_equal(umap_of(latent, weights, anchors, 4), here)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16])
def test_a_handful_of_cells_has_places(n):
    _, (latent, weights, anchors) = in_groups(FEW)
    places = umap_of(latent[:n], weights[:n], anchors, 0)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == n


@pytest.mark.parametrize("n", [50, MANY])
def test_identical_cells_are_near_each_other(n):
    latent = np.ones((n, 8), np.float32)
    latent[: n // 2] = 9
    anchors = latent[:: n // 5]
    places = umap_of(latent, anchor_weights(latent, anchors), anchors, 0)
    assert np.isfinite(places).all()
    centres = places[: n // 2].mean(axis=0), places[n // 2 :].mean(axis=0)
    nearer_own = np.linalg.norm(places - centres[0], axis=1) < np.linalg.norm(
        places - centres[1], axis=1
    )
    assert (nearer_own == (np.arange(n) < n // 2)).mean() > 0.99
