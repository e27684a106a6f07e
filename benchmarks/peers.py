"""Run the methods with which the benchmarks compare bgformer.

Preparations change the AnnData in place and can be shared by methods. Clusterings return the
cluster of each cell, at a given setting if the method has one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from scipy.io import mmwrite
from sklearn.cluster import KMeans

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anndata

SEURAT_SCRIPT = Path(__file__).resolve().parent / "seurat_clusters.R"
SEURAT_RESOLUTIONS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
N_TOP_GENES = 2000
N_COMPONENTS = 32
"""Number of principal components for k-means and neighbour recall; graphs use all 50."""
SCVI_EPOCHS = None  # scvi-tools' own rule: 400 below 20,000 cells, fewer above


def batch_key(adata: anndata.AnnData) -> str | None:
    """Return the name of the column with the batches, or None if there is none."""
    return "batch" if "batch" in adata.obs else None


# Preparations


def scanpy_pca(adata: anndata.AnnData, seed: int, target_sum: float | None = None) -> None:
    """Normalise, log-transform, select 2000 genes, scale and clip to 10, and compute 50 PCs.

    `target_sum` is the total to which each cell is normalised; None for the median, scanpy's
    default.
    """
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=target_sum)
    sc.pp.log1p(adata)
    if adata.n_vars > N_TOP_GENES:
        sc.pp.highly_variable_genes(adata, n_top_genes=N_TOP_GENES)
        adata._inplace_subset_var(adata.var["highly_variable"].to_numpy())
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=min(50, min(adata.shape) - 1), random_state=seed)


def pca_per_10k(adata: anndata.AnnData, seed: int) -> None:
    """Do the same as `scanpy_pca` with totals of 10,000, the other common choice."""
    scanpy_pca(adata, seed, target_sum=1e4)


def scanpy_neighbours(adata: anndata.AnnData, seed: int) -> None:
    """Compute the graph of 15 nearest neighbours from 50 PCs."""
    scanpy_pca(adata, seed)
    sc.pp.neighbors(adata, random_state=seed)


def harmony_neighbours(adata: anndata.AnnData, seed: int) -> None:
    """Compute the neighbour graph from PCs that Harmony has corrected for batches."""
    import harmonypy

    scanpy_pca(adata, seed)
    # scanpy.external transposes the result, which is right only for harmonypy before version 2
    corrected = harmonypy.run_harmony(
        adata.obsm["X_pca"].astype(np.float64),
        adata.obs,
        "batch",
        random_state=seed,
        ncores=1,
        verbose=False,
    )
    adata.obsm["X_harmony"] = corrected.Z_corr
    sc.pp.neighbors(adata, use_rep="X_harmony", random_state=seed)


def scvi_neighbours(adata: anndata.AnnData, seed: int) -> None:
    """Compute the neighbour graph from scVI's latent space; scVI uses the genes of the PCA."""
    import scvi

    scanpy_pca(adata, seed)
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    scvi.settings.seed = seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on the number of workers and on devices
        scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key=batch_key(adata))
        model = scvi.model.SCVI(adata)
        model.train(max_epochs=SCVI_EPOCHS, accelerator="cpu", enable_progress_bar=False)
    adata.obsm["X_scvi"] = model.get_latent_representation()
    sc.pp.neighbors(adata, use_rep="X_scvi", random_state=seed)


def seurat_all(adata: anndata.AnnData, seed: int) -> None:
    """Run Seurat's FindClusters at all resolutions in one R process.

    Clusters go to ``obs``. ``uns["seconds"]`` holds a correction for each resolution. Adding it to
    the seconds of the whole process gives the seconds for that resolution alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        mmwrite(Path(folder, "counts.mtx"), adata.X.T.tocoo())
        asked = [f"{resolution:g}" for resolution in SEURAT_RESOLUTIONS]
        command = ["Rscript", "--vanilla", str(SEURAT_SCRIPT), folder, str(seed), *asked]
        subprocess.run(command, check=True)
        clusters = pd.read_csv(Path(folder, "clusters.csv"), dtype=str)
        seconds = pd.read_csv(Path(folder, "seconds.csv")).iloc[0]
    for resolution in asked:
        adata.obs[f"seurat_{resolution}"] = clusters[resolution].to_numpy()
    adata.uns["seconds"] = (seconds - seconds.sum()).to_dict()


# Clusterings


def leiden(adata: anndata.AnnData, seed: int, resolution: float = 1.0) -> np.ndarray:
    """Run Leiden on the neighbour graph with the options that scanpy recommends."""
    sc.tl.leiden(
        adata,
        resolution,
        random_state=seed,
        flavor="igraph",
        n_iterations=-1,
        directed=False,
    )
    return adata.obs["leiden"].to_numpy()


def leiden_given_k(
    adata: anndata.AnnData, seed: int, _setting: None, n_clusters: int
) -> np.ndarray:
    """Run Leiden at the resolution that gives closest to K clusters, found by bisection."""
    low, high, tried = 0.0, None, 1.0
    closest = None
    for _ in range(20):
        labels = leiden(adata, seed, tried)
        found = len(set(labels))
        if closest is None or abs(found - n_clusters) < abs(len(set(closest)) - n_clusters):
            closest = labels
        if found == n_clusters:
            break
        if found < n_clusters:
            low = tried
        else:
            high = tried
        tried = 2 * low if high is None else (low + high) / 2
    return closest


def kmeans(points: np.ndarray, seed: int, n_clusters: int) -> np.ndarray:
    """Run k-means with ten starts and keep the best."""
    return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)


def components(adata: anndata.AnnData) -> np.ndarray:
    """Return the first 32 principal components."""
    return adata.obsm["X_pca"][:, :N_COMPONENTS]


def pca_kmeans(adata: anndata.AnnData, seed: int, _setting: None, n_clusters: int) -> np.ndarray:
    """Run k-means on 32 PCs."""
    return kmeans(components(adata), seed, n_clusters)


def umap_kmeans(adata: anndata.AnnData, seed: int, _setting: None, n_clusters: int) -> np.ndarray:
    """Run k-means on scanpy's two-dimensional UMAP."""
    sc.tl.umap(adata, random_state=seed)
    return kmeans(adata.obsm["X_umap"], seed, n_clusters)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Suppress Secuer's logging, and undo its changes to warnings and the root logger."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        root.handlers[:] = handlers


def secuer_clusters(adata: anndata.AnnData, seed: int, resolution: float) -> np.ndarray:
    """Run Secuer on 50 PCs; `resolution` determines the number of clusters."""
    with undisturbed():
        from secuer import secuer

        return secuer(adata.obsm["X_pca"], eskResolution=resolution, seed=seed)


def parc_clusters(adata: anndata.AnnData, seed: int, resolution: float) -> np.ndarray:
    """Run PARC on 50 PCs, on one thread so that the result is reproducible."""
    from parc import PARC, _parc

    _parc.small_pop = 10  # the default; PARC 0.40 fails to define it if clusters are large
    model = PARC(
        adata.obsm["X_pca"], resolution_parameter=resolution, random_seed=seed, num_threads=1
    )
    with contextlib.redirect_stdout(io.StringIO()):
        model.run_PARC()
    return np.asarray(model.labels)


def seurat_clusters(adata: anndata.AnnData, seed: int, resolution: float) -> np.ndarray:
    """Return Seurat's clusters at a resolution."""
    return adata.obs[f"seurat_{resolution:g}"].to_numpy()
