"""Data that several test modules share."""

import anndata as ad
import pytest

from pbmc700 import load_pbmc700


@pytest.fixture(scope="session")
def _pbmc700() -> ad.AnnData:
    return load_pbmc700()


@pytest.fixture
def pbmc700(_pbmc700: ad.AnnData) -> ad.AnnData:
    """700 real blood cells × 765 genes, counts in X (CSR), labels in obs["cell_type"]."""
    return _pbmc700.copy()
