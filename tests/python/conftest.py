"""Data that several test modules share."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import sparse

import bgformer as bgf
import pbmc700 as pbmc700_module
from pbmc700 import load_pbmc700

mpl.use("agg")  # figures open no window

STEPS = 30


@pytest.fixture(scope="session")
def _pbmc700() -> ad.AnnData:
    return load_pbmc700()


@pytest.fixture
def pbmc700(_pbmc700: ad.AnnData) -> ad.AnnData:
    """700 real blood cells × 765 genes, counts in X (CSR), labels in obs["cell_type"]."""
    return _pbmc700.copy()


@pytest.fixture
def cells(_pbmc700: ad.AnnData) -> ad.AnnData:
    """The first 150 of the blood cells, for what is fitted many times."""
    return _pbmc700[:150].copy()


@pytest.fixture(scope="session")
def model(_pbmc700: ad.AnnData) -> bgf.BGFormer:
    """A model fitted to the 700 cells; tests must not change it."""
    return bgf.BGFormer(max_steps=STEPS, seed=0, verbose=False).fit(_pbmc700)


@pytest.fixture(scope="session")
def _clustered(_pbmc700: ad.AnnData) -> ad.AnnData:
    return bgf.tl.cluster(_pbmc700, max_steps=STEPS, seed=0, verbose=False, copy=True)


@pytest.fixture
def clustered(_clustered: ad.AnnData) -> ad.AnnData:
    """The 700 cells with the results of tl.cluster."""
    return _clustered.copy()


@pytest.fixture(scope="session")
def _predicted(_pbmc700: ad.AnnData) -> ad.AnnData:
    is_b = (_pbmc700.obs["cell_type"] == "CD19+ B").to_numpy()
    old = ~is_b & (np.arange(700) % 2 == 0)
    new = _pbmc700[~old].copy()
    with pytest.warns(UserWarning, match="unassigned"):
        bgf.tl.predict(new, bgf.BGFormer(verbose=False).fit(_pbmc700[old].copy()))
    return new


@pytest.fixture
def predicted(_predicted: ad.AnnData) -> ad.AnnData:
    """Cells predicted by a model of others, of which the B cells are unassigned."""
    return _predicted.copy()


@pytest.fixture(scope="session")
def _with_umap(_clustered: ad.AnnData) -> ad.AnnData:
    adata = _clustered.copy()
    bgf.pl.embedding(adata)
    plt.close("all")
    return adata


@pytest.fixture
def drawn(_with_umap: ad.AnnData) -> ad.AnnData:
    """The clustered cells, their UMAP computed."""
    return _with_umap.copy()


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def one_type() -> ad.AnnData:
    """400 simulated cells of one type, which two programmes of genes vary in."""
    return _simulate([400])


@pytest.fixture(scope="session")
def two_types() -> ad.AnnData:
    """400 simulated cells of two types, obs["type"] 0 and 1, as 3 to 1."""
    return _simulate([300, 100])


def _simulate(n_cells: list[int], n_genes: int = 200) -> ad.AnnData:
    """Negative binomial counts of types that differ in a tenth of the genes each."""
    rng = np.random.default_rng(0)
    of_type = np.repeat(np.arange(len(n_cells)), n_cells)
    programmes = rng.normal(scale=0.4, size=(2, n_genes))
    log_mean = np.log(rng.gamma(0.6, 2, n_genes) + 0.01)
    log_mean = log_mean + rng.normal(size=(len(of_type), 2)) @ programmes
    if len(n_cells) > 1:
        log_mean[np.arange(n_genes) % 10 == of_type[:, None]] += 2
    mean = rng.lognormal(0, 0.3, size=(len(of_type), 1)) * np.exp(log_mean)
    counts = rng.poisson(rng.gamma(5, mean / 5))
    return ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.float32),
        obs=pd.DataFrame({"type": of_type}, index=[f"cell{i}" for i in range(len(of_type))]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
    )


@pytest.fixture
def unchanged():
    """Check that an AnnData is the same, part by part, after a block as before it."""

    @contextmanager
    def check(adata: ad.AnnData):
        before = adata.copy()
        keys = _keys(adata)
        yield
        assert _keys(adata) == keys
        pd.testing.assert_frame_equal(adata.obs, before.obs)
        pd.testing.assert_frame_equal(adata.var, before.var)
        for now, then in [
            (adata.X, before.X),
            *((adata.layers[k], before.layers[k]) for k in adata.layers),
        ]:
            assert type(now) is type(then)
            if hasattr(now, "indptr"):
                np.testing.assert_array_equal(now.indices, then.indices)
                now, then = now.data, then.data
            if now is not None:
                np.testing.assert_array_equal(now, then)

    return check


def _keys(adata: ad.AnnData) -> list:
    return [list(part) for part in (adata.uns, adata.obsm, adata.obsp, adata.layers, adata.varm)]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment in which another Python process finds this package and the data."""
    folders = [Path(bgf.__file__).parents[1], Path(pbmc700_module.__file__).parent]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="session")
def run_python(environment):
    """Run Python in a process of its own: ``run_python(*arguments, **environment)``."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
