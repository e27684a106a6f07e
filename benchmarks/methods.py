"""The methods that the benchmarks compare, and their settings.

Every method starts from raw counts and, if present, ``obs["batch"]``. It gets the true number of
clusters only if its title says so. Labels are used only to choose the epoch in one row. Methods
with the same preparation share it (`Method.prepare`); its time counts for each of them.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import anndata
import numpy as np
import peers
import scanpy as sc
from peers import batch_key, leiden, scanpy_pca
from published import last_and_best_epoch
from scipy import sparse

import bgformer as bgf

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["METHODS", "Method", "batch_key", "leiden", "scanpy_pca", "silence", "warm_up"]

RESOLUTIONS = (0.5, 0.8, 1.0, 1.5, 2.0)
"""Resolutions tried for Leiden, PARC and Secuer."""
OUR_RESOLUTIONS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0)


def trained(adata: anndata.AnnData, seed: int) -> None:
    """Train and cluster with bgformer at its defaults."""
    bgf.tl.cluster(adata, seed=seed, batch_key=batch_key(adata), verbose=False)


def ours(adata: anndata.AnnData, seed: int, resolution: float | None) -> np.ndarray:
    """Return the clusters that bgformer chose, or those at another resolution."""
    if resolution is not None:
        bgf.tl.recluster(adata, resolution=resolution)
    return adata.obs["bgformer"].to_numpy()


def ours_given_k(adata: anndata.AnnData, seed: int, _setting: None, n_clusters: int) -> np.ndarray:
    """Re-cluster the trained model into K clusters."""
    bgf.tl.recluster(adata, n_clusters=n_clusters)
    return adata.obs["bgformer"].to_numpy()


def epoch(which: str) -> Callable[..., np.ndarray]:
    """Return a function that reads the clusters of one epoch of the published procedure."""
    return lambda adata, seed, _setting, **_known: adata.obs[f"published_{which}"].to_numpy()


def stored(name: str) -> Callable[[anndata.AnnData], np.ndarray]:
    """Return a function that reads a latent space from ``obsm``."""
    return lambda adata: adata.obsm[name]


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Attributes
    ----------
    title
        Its name in tables.
    prepare
        Function that prepares the raw counts, in place.
    cluster
        Function of the prepared cells, the seed, a setting and the arguments in `given`. It
        returns the cluster of each cell.
    package
        Package that does the work; its version is reported.
    settings
        Settings to try, including `default`. None is the method's own choice.
    default
        Default setting of the package.
    latent
        Function that reads the latent space that the method clusters; None if there is none.
    given
        Extra arguments of `cluster`: "n_clusters", "labels".
    prepare_given
        Extra arguments of `prepare`.
    needs_batch
        Whether the method runs only on sets with batches to remove.
    usual
        Whether the method runs by default.
    """

    title: str
    prepare: Callable[..., None]
    cluster: Callable[..., np.ndarray]
    package: str
    settings: tuple[float | None, ...] = (None,)
    default: float | None = None
    latent: Callable[[anndata.AnnData], np.ndarray] | None = None
    given: tuple[str, ...] = ()
    prepare_given: tuple[str, ...] = ()
    needs_batch: bool = False
    usual: bool = True

    def software(self) -> str:
        """Return the package with its version.

        Raises
        ------
        SystemExit
            If the package is not installed.
        """
        try:
            found = seurat_version() if self.package == "Seurat" else version(self.package)
        except (PackageNotFoundError, OSError, subprocess.CalledProcessError):
            raise SystemExit(
                f"'{self.title}' needs {self.package}, which is not installed: see the head of "
                f"benchmarks/accuracy.py, or choose other methods with --peers."
            ) from None
        return f"{self.package} {found}"


def seurat_version() -> str:
    """Ask R for the version of Seurat."""
    command = ["Rscript", "--vanilla", "-e", 'cat(format(packageVersion("Seurat")))']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def setting_name(setting: float | None) -> str:
    """Return the name of a setting in files and tables."""
    return "default" if setting is None else f"{setting:g}"


def _without_k(title: str, prepare: Callable, cluster: Callable, package: str, **more) -> Method:
    """Return a method that is tried at several resolutions."""
    return Method(title, prepare, cluster, package, **({"settings": RESOLUTIONS} | more))


def _with_k(title: str, prepare: Callable, cluster: Callable, package: str, **more) -> Method:
    """Return a method that gets the true number of clusters."""
    return Method(f"{title}, true K", prepare, cluster, package, given=("n_clusters",), **more)


def _published(title: str, which: str) -> Method:
    """Return a row of the published procedure; one training run gives both epochs."""
    return Method(
        f"published procedure, true K, {title}",
        last_and_best_epoch,
        epoch(which),
        "torch",
        latent=stored(f"X_published_{which}"),
        prepare_given=("n_clusters", "labels"),
    )


PCS = stored("X_pca")
METHODS = {
    "ours": Method(
        "bgformer",
        trained,
        ours,
        "bgformer",
        settings=(None, *OUR_RESOLUTIONS),
        latent=stored("X_bgformer"),
    ),
    "ours-k": _with_k("bgformer", trained, ours_given_k, "bgformer", latent=stored("X_bgformer")),
    "leiden": _without_k(
        "scanpy Leiden", peers.scanpy_neighbours, leiden, "scanpy", default=1.0, latent=PCS
    ),
    "leiden-k": _with_k(
        "scanpy Leiden", peers.scanpy_neighbours, peers.leiden_given_k, "scanpy", latent=PCS
    ),
    "seurat": _without_k(
        "Seurat FindClusters",
        peers.seurat_all,
        peers.seurat_clusters,
        "Seurat",
        settings=peers.SEURAT_RESOLUTIONS,
        default=0.8,
    ),
    "secuer": _without_k("Secuer", scanpy_pca, peers.secuer_clusters, "secuer", default=0.8),
    "parc": _without_k("PARC", scanpy_pca, peers.parc_clusters, "parc", default=1.0),
    "pca": _with_k(
        "PCA + k-means", scanpy_pca, peers.pca_kmeans, "scikit-learn", latent=peers.components
    ),
    "pca-10k": _with_k(
        "PCA (totals of 10,000) + k-means",
        peers.pca_per_10k,
        peers.pca_kmeans,
        "scikit-learn",
        latent=peers.components,
    ),
    "umap": _with_k(
        "PCA + UMAP + k-means", peers.scanpy_neighbours, peers.umap_kmeans, "umap-learn"
    ),
    "harmony": _without_k(
        "Harmony + Leiden",
        peers.harmony_neighbours,
        leiden,
        "harmonypy",
        default=1.0,
        latent=stored("X_harmony"),
        needs_batch=True,
    ),
    "published": _published("last epoch", "last"),
    "published-best": _published("best epoch by label (not available in practice)", "best"),
    "scvi": _without_k(
        "scVI + Leiden",
        peers.scvi_neighbours,
        leiden,
        "scvi-tools",
        default=1.0,
        latent=stored("X_scvi"),
        usual=False,
    ),
}


def silence() -> None:
    """Silence warnings of packages about deliberate choices."""
    warnings.filterwarnings("ignore", module="scanpy|anndata|umap|igraph|louvain|sklearn")
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # louvain imports it
    warnings.filterwarnings("ignore", "zero-centering a sparse array")  # genes are scaled
    warnings.filterwarnings("ignore", "Graph is not fully connected")  # far types in UMAP


def warm_up() -> None:
    """Trigger imports and compilation, so that they do not count in the times of a method."""
    for name in ("harmonypy", "parc", "secuer"):
        with contextlib.suppress(ImportError), peers.undisturbed():
            importlib.import_module(name)
    counts = sparse.random(5000, peers.N_TOP_GENES + 100, 0.02, "csr", np.float32, rng=0).ceil()
    for n in (500, 5000):  # few and many cells take different paths
        adata = anndata.AnnData(counts[:n])
        peers.scanpy_neighbours(adata, 0)
        sc.tl.umap(adata, maxiter=1)
