"""The methods that the benchmarks compare: bgformer and its peers, each at its defaults.

Every method starts from raw counts and, where there are any, ``obs["batch"]``; it is given the
true number of clusters where its title says so, and never a label. Methods that start with the
same work share it (`Method.prepare`), and the time of that work counts for each of them.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import scanpy as sc
from scipy import sparse
from scipy.io import mmwrite
from sklearn.cluster import KMeans

import bgformer as bgf
from bgformer import counts as count_matrix
from bgformer.devices import one_thread
from bgformer.genes import select_genes
from bgformer.metric import calibrate
from bgformer.progress import Progress
from bgformer.training import Objective, Schedule, embed, network_for, train

if TYPE_CHECKING:
    from collections.abc import Callable

SEURAT_SCRIPT = Path(__file__).resolve().parent / "seurat_clusters.R"
N_TOP_GENES = 2000
SCVI_EPOCHS = None  # scvi-tools' own rule: 400 below 20,000 cells, fewer above
DEC_STEPS = 300
DEC_LEARNING_RATE = 3e-4  # as in bgformer.refinement: cells are moved, not learned anew


def batch_key(adata: anndata.AnnData) -> str | None:
    """Return the name of the column with the batches, None where there is none."""
    return "batch" if "batch" in adata.obs else None


# Preparations: they change the AnnData in place.


def from_counts(adata: anndata.AnnData, seed: int) -> None:
    """Leave the counts as they are."""


def trained(adata: anndata.AnnData, seed: int) -> None:
    """Train bgformer and cluster, defaults."""
    bgf.tl.cluster(adata, seed=seed, batch_key=batch_key(adata), verbose=False)


def scanpy_pca(adata: anndata.AnnData, seed: int) -> None:
    """Log-normalise, choose 2000 genes, scale, 50 PCs: scanpy's standard preparation."""
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    if adata.n_vars > N_TOP_GENES:
        sc.pp.highly_variable_genes(adata, n_top_genes=N_TOP_GENES)
        adata._inplace_subset_var(adata.var["highly_variable"].to_numpy())
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=50, random_state=seed)


# Methods: they return the cluster of each cell.


def ours(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Take the clusters that training ended with."""
    return adata.obs["bgformer"].to_numpy()


def ours_given_k(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """Cut the trained model into K clusters."""
    bgf.tl.recluster(adata, n_clusters=n_clusters)
    return adata.obs["bgformer"].to_numpy()


def leiden(adata: anndata.AnnData, seed: int, resolution: float = 1.0) -> np.ndarray:
    """Leiden on the graph of neighbours, as scanpy recommends to run it."""
    sc.tl.leiden(
        adata,
        resolution,
        random_state=seed,
        flavor="igraph",
        n_iterations=-1,
        directed=False,
    )
    return adata.obs["leiden"].to_numpy()


def scanpy_leiden(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Leiden on the neighbours by PCA, resolution 1."""
    sc.pp.neighbors(adata, random_state=seed)
    return leiden(adata, seed)


def scanpy_leiden_given_k(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """Leiden at the resolution, found by bisection, that comes closest to K clusters."""
    sc.pp.neighbors(adata, random_state=seed)
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
    """K-means, the best of ten starts."""
    return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)


def pca_kmeans(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """K-means on the 50 PCs."""
    return kmeans(adata.obsm["X_pca"], seed, n_clusters)


def umap_kmeans(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """K-means on scanpy's UMAP, two dimensions."""
    sc.pp.neighbors(adata, random_state=seed)
    sc.tl.umap(adata, random_state=seed)
    return kmeans(adata.obsm["X_umap"], seed, n_clusters)


def harmony_leiden(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Leiden on the neighbours by PCs that Harmony has freed of the batch, resolution 1."""
    import harmonypy

    # not through scanpy.external: it turns the result, as versions of harmonypy before 2 need it
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
    return leiden(adata, seed)


def scvi_leiden(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Leiden on the neighbours by scVI's latent, resolution 1; scVI sees the genes of the PCA."""
    import scvi

    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    scvi.settings.seed = seed
    # one thread, as bgformer: two that share a busy core wait for each other most of the time
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # advice on the number of workers and on devices
        scvi.model.SCVI.setup_anndata(adata, layer="counts", batch_key=batch_key(adata))
        model = scvi.model.SCVI(adata)
        model.train(max_epochs=SCVI_EPOCHS, accelerator="cpu", enable_progress_bar=False)
    adata.obsm["X_scvi"] = model.get_latent_representation()
    sc.pp.neighbors(adata, use_rep="X_scvi", random_state=seed)
    return leiden(adata, seed)


def autoencoder_dec(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """Deep embedded clustering without anchors: our network and objective less the attention.

    K-means on the latent gives the centroids that DEC refines; its weight against the ZINB term is
    1, as in scDeepCluster. The anchors would be set after the last step (``warm_up=1``), so that
    the latent is the encoder's own output throughout.
    """
    counts = count_matrix.read_counts(adata)
    batch, batches = count_matrix.read_batch(adata, batch_key(adata))
    chosen = select_genes(counts, N_TOP_GENES, batch)
    data = count_matrix.with_size_factors(counts[:, chosen], batch)
    network = network_for(data, n_batches=len(batches), n_anchors=1, n_latent=32, seed=seed)

    def run(objective: Objective, schedule: Schedule, centroids: np.ndarray | None) -> np.ndarray:
        train(
            network,
            data,
            objective=objective,
            schedule=schedule,
            seed=seed,
            progress=Progress(schedule.max_steps, verbose=False),
            centroids=centroids,
        )
        return embed(network, data)

    with one_thread():
        run(Objective(), Schedule(warm_up=1.0), None)
        calibrate(network, data, seed)
        latent = embed(network, data)
        before = KMeans(n_clusters, n_init=10, random_state=seed).fit(latent)
        refinement = Schedule(DEC_STEPS, learning_rate=DEC_LEARNING_RATE, warm_up=1.0)
        latent = run(Objective(dec=1.0), refinement, before.cluster_centers_)
    # where the refinement took the clusters, since `train` keeps its centroids to itself
    centres = np.stack([latent[before.labels_ == k].mean(axis=0) for k in range(n_clusters)])
    return KMeans(n_clusters, init=centres, n_init=1).fit_predict(latent)


def seurat(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Seurat's FindClusters in R, all at Seurat's defaults; see seurat_clusters.R."""
    with tempfile.TemporaryDirectory() as folder:
        mmwrite(Path(folder, "counts.mtx"), adata.X.T.tocoo())
        command = ["Rscript", "--vanilla", str(SEURAT_SCRIPT), folder, str(seed)]
        subprocess.run(command, check=True)
        return np.loadtxt(Path(folder, "clusters.txt"), dtype=str)


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes
    ----------
    title
        Its name in the table.
    prepare
        What it starts from, made from the raw counts in place.
    cluster
        The method: takes what `prepare` left, the seed and, if `given_k`, ``n_clusters``.
    package
        The package that does the work, and whose version is reported.
    given_k
        Whether it is told the true number of clusters.
    needs_batch
        Whether it runs on sets with batches only.
    """

    title: str
    prepare: Callable[[anndata.AnnData, int], None]
    cluster: Callable[..., np.ndarray]
    package: str
    given_k: bool = False
    needs_batch: bool = False

    def software(self) -> str:
        """Return the package with its version, for the table's head.

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


METHODS = {
    "ours": Method("bgformer", trained, ours, "bgformer"),
    "ours-k": Method("bgformer, true K", trained, ours_given_k, "bgformer", given_k=True),
    "leiden": Method("scanpy Leiden, resolution 1", scanpy_pca, scanpy_leiden, "scanpy"),
    "leiden-k": Method(
        "scanpy Leiden, true K", scanpy_pca, scanpy_leiden_given_k, "scanpy", given_k=True
    ),
    "pca": Method("PCA + k-means, true K", scanpy_pca, pca_kmeans, "scikit-learn", given_k=True),
    "umap": Method(
        "PCA + UMAP + k-means, true K", scanpy_pca, umap_kmeans, "umap-learn", given_k=True
    ),
    "scvi": Method("scVI + Leiden, resolution 1", scanpy_pca, scvi_leiden, "scvi-tools"),
    "dec": Method(
        "autoencoder + DEC, true K", from_counts, autoencoder_dec, "bgformer", given_k=True
    ),
    "harmony": Method(
        "Harmony + Leiden, resolution 1",
        scanpy_pca,
        harmony_leiden,
        "harmonypy",
        needs_batch=True,
    ),
    "seurat": Method("Seurat FindClusters, resolution 0.8", from_counts, seurat, "Seurat"),
}


def silence() -> None:
    """Silence what packages say about choices that are meant here."""
    warnings.filterwarnings("ignore", module="scanpy|anndata|umap|igraph")
    warnings.filterwarnings("ignore", "zero-centering a sparse array")  # genes are scaled
    warnings.filterwarnings("ignore", "Graph is not fully connected")  # far types in UMAP


def warm_up() -> None:
    """Compile what numba compiles at first use, so that no method is charged for it."""
    counts = sparse.random(5000, N_TOP_GENES + 100, 0.02, "csr", np.float32, rng=0).ceil()
    for n in (500, 5000):  # few and many cells take different paths
        adata = anndata.AnnData(counts[:n])
        scanpy_pca(adata, 0)
        sc.pp.neighbors(adata)
        sc.tl.umap(adata, maxiter=1)
