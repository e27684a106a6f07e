"""BGFormer, the estimator: fit, predict, embed, confidence, recluster."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from anndata import AnnData

from bgformer import anchors as anchor_graph
from bgformer import counts as count_matrix
from bgformer import readers, storage
from bgformer._version import __version__
from bgformer.arguments import positive, whole, whole_or_auto
from bgformer.codebook import kmeans_centres
from bgformer.counts import CountData
from bgformer.network import Network
from bgformer.progress import Progress, say
from bgformer.training import Objective, Schedule, embed, one_thread, pick_device, train

if TYPE_CHECKING:
    from scipy import sparse

    from bgformer.anchors import Partition

MAX_ANCHORS = 256
"""Anchors chosen by "auto" for all but the smallest data sets."""
CELLS_PER_ANCHOR = 10
"""With fewer cells per anchor than this, "auto" takes fewer anchors."""
_MIN_SHARED_GENES = 0.5
"""Share of the model's genes that new cells must have."""


class BGFormer:
    """Cluster cells through a bipartite attention between cells and anchors.

    Parameters
    ----------
    n_clusters
        Number of clusters, or "auto" to find it from the anchor graph.
    resolution
        Resolution of the Leiden clustering of the anchors, used when the number of clusters is
        not given. Higher gives more clusters.
    n_anchors
        Number of anchors, or "auto": 256, fewer below 2560 cells.
    n_top_genes
        Highly variable genes to use.
    n_latent
        Dimensions of the latent space.
    max_steps
        Training steps of 256 cells each.
    device
        "auto" (cuda, then mps, then cpu) or a torch device.
    seed
        The same seed gives the same clusters on the same kind of machine.
    verbose
        Show progress.

    Attributes
    ----------
    partition_
        Clusters of the training cells: labels, confidence, anchor_clusters, resolution.
    weights_
        Weights of the training cells on the anchors of the graph, CSR n x m.
    latent_
        Latent of the training cells, n x n_latent float32.
    anchors_
        Anchors of the graph, m x n_latent float32, of unit length.
    genes_
        Names of the genes used.
    history_
        Loss and its terms at every training step.

    Examples
    --------
    >>> model = bgf.BGFormer(seed=0).fit(adata)
    >>> model.predict(new_cells)
    """

    def __init__(
        self,
        *,
        n_clusters: int | str = "auto",
        resolution: float = anchor_graph.DEFAULT_RESOLUTION,
        n_anchors: int | str = "auto",
        n_top_genes: int = 2000,
        n_latent: int = 64,
        max_steps: int = Schedule.max_steps,
        device: str = "auto",
        seed: int = 0,
        verbose: bool = True,
    ) -> None:
        self.n_clusters = whole_or_auto("n_clusters", n_clusters)
        self.n_anchors = whole_or_auto("n_anchors", n_anchors)
        self.resolution = positive("resolution", resolution)
        self.n_top_genes = whole("n_top_genes", n_top_genes)
        self.n_latent = whole("n_latent", n_latent)
        self.max_steps = whole("max_steps", max_steps)
        self.device = device
        self.seed = whole("seed", seed, least=0, most=2**32 - 1)
        self.verbose = verbose
        if "auto" not in (self.n_clusters, self.n_anchors) and self.n_clusters > self.n_anchors:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, but n_anchors only {self.n_anchors}: clusters "
                f"are made of anchors, so ask for fewer clusters or more anchors."
            )
        if self.n_latent % 4:
            raise ValueError(f"n_latent is {n_latent}; it must be a multiple of 4 (the heads).")

    def fit(
        self,
        adata: AnnData | str | Path,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
    ) -> BGFormer:
        """Train on the counts of `adata` and cluster its cells.

        Parameters
        ----------
        adata
            Cells x genes with raw counts, or the path of an .h5ad file, a 10x .h5 file or a
            matrix-market folder.
        layer
            Layer that holds the counts; None for ``X``.
        batch_key
            Column of ``adata.obs`` with the batch of each cell.

        Returns
        -------
        The model itself. `adata` is not changed.

        Raises
        ------
        CountsError, ValueError
            If the counts or a setting cannot be used; see the message.
        """
        fitted = copy.copy(self)  # a fit that fails or is interrupted leaves this model as it was
        fitted._fit(_read(adata), layer, batch_key)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(self, adata: AnnData, layer: str | None, batch_key: str | None) -> None:
        """Fit, setting one attribute after the other."""
        device = pick_device(self.device)
        counts = count_matrix.read_counts(adata, layer)
        if self.n_clusters != "auto" and self.n_clusters > adata.n_obs:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, but there are only {adata.n_obs} cells."
            )
        batch, self.batches_ = count_matrix.read_batch(adata, batch_key)
        chosen = count_matrix.select_genes(counts, self.n_top_genes, batch)
        self.genes_ = np.asarray(adata.var_names[chosen], dtype=str)
        data = self._count_data(counts[:, chosen], batch, fitting=True)
        self._warn_unseen(data.counts, adata.obs_names)
        with one_thread():
            self.network_ = self._new_network(data, device)
            say(
                f"{data.n_cells} cells x {data.n_genes} genes, {self.network_.anchors.shape[0]} "
                f"anchors, {device.type}",
                verbose=self.verbose,
            )
            with Progress(self.max_steps, verbose=self.verbose) as progress:
                self.history_ = train(
                    self.network_,
                    data,
                    objective=Objective(),
                    schedule=replace(Schedule(), max_steps=self.max_steps),
                    seed=self.seed,
                    progress=progress,
                )
            self.latent_ = embed(self.network_, data)
            unit = anchor_graph.unit_rows(self.latent_)
            rows = np.random.default_rng(self.seed).permutation(len(unit))[:20_000]
            centres = kmeans_centres(unit[rows], self.network_.anchors.shape[0], self.seed)
            self.anchors_ = anchor_graph.unit_rows(centres)
            self.weights_ = anchor_graph.anchor_weights(self.latent_, self.anchors_)
        self.recluster()
        say(f"{self.partition_.anchor_clusters.max() + 1} clusters", verbose=self.verbose)

    def recluster(
        self, *, resolution: float | None = None, n_clusters: int | None = None
    ) -> Partition:
        """Cluster the anchors again, at another resolution or number; nothing is trained.

        Parameters
        ----------
        resolution
            New resolution; with neither given, the model's own settings are used.
        n_clusters
            Number of clusters wanted instead.

        Returns
        -------
        The new partition of the training cells, which `predict` uses from now on.
        """
        self._check_fitted()
        if resolution is None and n_clusters is None:
            resolution = self.resolution
            n_clusters = None if self.n_clusters == "auto" else self.n_clusters
        self.partition_ = anchor_graph.partition(
            self.weights_, resolution, n_clusters, seed=self.seed
        )
        return self.partition_

    def embed(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the latent of cells, n x n_latent float32.

        Genes are matched by name. Genes that the new cells lack are treated as masked, as in
        training, with a warning; more than half missing is an error.

        Raises
        ------
        ValueError
            If the model is not fitted, or too few of its genes are there.
        """
        self._check_fitted()
        adata = _read(adata)
        counts = count_matrix.read_counts(adata, layer, min_cells=1)
        at = adata.var_names.get_indexer(self.genes_)
        found = at >= 0
        if found.mean() < _MIN_SHARED_GENES:
            raise ValueError(
                f"only {found.sum()} of the model's {len(found)} genes are in adata.var_names; "
                f"at least half are needed: give cells with the gene names of the cells fitted "
                f"(e.g. '{self.genes_[~found][0]}')."
            )
        if not found.all():
            warnings.warn(
                f"{(~found).sum()} of the model's {len(found)} genes are missing in the new cells "
                f"(the first: '{self.genes_[~found][0]}') and are treated as not measured.",
                stacklevel=2,
            )
        cut = count_matrix.cut_genes(counts, at)
        data = self._count_data(cut, np.zeros(adata.n_obs, dtype=np.int64), measured=found)
        self._warn_unseen(data.counts, adata.obs_names)
        with one_thread():
            return embed(self.network_, data, None if found.all() else found)

    def predict(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the cluster of each cell as an integer, shape (n,), by the fitted anchors."""
        return self.assign(self.embed(adata, layer=layer))[0]

    def confidence(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the confidence in each cell's cluster, shape (n,), 0..1.

        It is the share of the cell's anchor weights that lies on anchors of its cluster.
        """
        return self.assign(self.embed(adata, layer=layer))[1]

    def assign(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cluster and confidence, both (n,), of cells that `embed` gave the latent of."""
        self._check_fitted()
        weights = anchor_graph.anchor_weights(latent, self.anchors_)
        return anchor_graph.vote(weights, self.partition_.anchor_clusters)

    def save(self, directory: str | Path) -> None:
        """Write the model into a folder: tensors as safetensors, the rest as JSON.

        The folder appears complete or not at all; one that holds a model is replaced.

        Raises
        ------
        ValueError
            If the model is not fitted.
        FileExistsError
            If `directory` exists and is not a saved model.
        """
        self._check_fitted()
        tensors = {f"network.{k}": v.cpu() for k, v in self.network_.state_dict().items()}
        arrays = {
            "latent": self.latent_,
            "anchors": self.anchors_,
            "anchor_clusters": self.partition_.anchor_clusters,
            "weights.data": self.weights_.data,
            "weights.indices": self.weights_.indices,
            "weights.indptr": self.weights_.indptr,
        } | {f"history.{name}": values for name, values in self.history_.items()}
        tensors |= {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
        description = {
            "version": __version__,
            "settings": self.settings(),
            "median_counts": self.median_counts_,
            "resolution": self.partition_.resolution,
            "genes": self.genes_.tolist(),
            "batches": self.batches_,
        }
        storage.write(directory, tensors, description)

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto") -> BGFormer:
        """Read a model that `save` wrote; no code is run from the files.

        Raises
        ------
        FileNotFoundError
            If there is no model in `directory`.
        ValueError
            If a file is damaged, or was written by a newer version.
        """
        chosen = pick_device(device)
        tensors, description = storage.read(directory)
        with storage.damage_reported(directory):
            model = cls(**description["settings"] | {"device": device})
            model.genes_ = np.array(description["genes"], dtype=str)
            model.batches_ = description["batches"]
            model.median_counts_ = description["median_counts"]
            network = {
                k.removeprefix("network."): v
                for k, v in tensors.items()
                if k.startswith("network.")
            }
            model.network_ = Network.from_state(network).to(chosen)
            model.history_ = {
                k.removeprefix("history."): v.numpy()
                for k, v in tensors.items()
                if k.startswith("history.")
            }
            model.latent_ = tensors["latent"].numpy()
            model.anchors_ = tensors["anchors"].numpy()
            model.weights_ = anchor_graph.weights_from_parts(
                *(tensors[f"weights.{part}"].numpy() for part in ("data", "indices", "indptr")),
                n_anchors=len(model.anchors_),
            )
            if len(model.latent_) != model.weights_.shape[0]:
                raise ValueError("latent and weights are of different numbers of cells")
            model.partition_ = anchor_graph.assign(
                model.weights_, tensors["anchor_clusters"].numpy(), description["resolution"]
            )
        return model

    def settings(self) -> dict[str, int | float | str]:
        """Return the arguments that decide what this model finds."""
        names = (
            "n_clusters",
            "resolution",
            "n_anchors",
            "n_top_genes",
            "n_latent",
            "max_steps",
            "device",
            "seed",
        )
        return {name: getattr(self, name) for name in names}

    def _count_data(
        self,
        counts: sparse.csr_matrix,
        batch: np.ndarray,
        *,
        fitting: bool = False,
        measured: np.ndarray | None = None,
    ) -> CountData:
        """Attach size factors: counts in the model's genes over their median in training."""
        totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        if fitting:
            self.median_counts_ = float(np.median(totals[totals > 0]))
        median = self.median_counts_
        if measured is not None and not measured.all():
            expected = self.network_.gene_mean.cpu().numpy()
            median *= np.expm1(expected[measured]).sum() / np.expm1(expected).sum()
        size_factors = np.maximum(totals, 1) / median
        return CountData(counts, size_factors.astype(np.float32), batch)

    def _new_network(self, data: CountData, device: torch.device) -> Network:
        """Return an untrained network for the data, seeded."""
        mean, scale = count_matrix.log_moments(data)
        gene_means = np.asarray(data.counts.mean(axis=0)).ravel()
        with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
            torch.random.default_generator.manual_seed(self.seed)
            network = Network(
                mean,
                scale,
                np.log(gene_means + 1e-4),
                n_batches=len(self.batches_),
                n_anchors=self._anchors_for(data.n_cells),
                n_latent=self.n_latent,
            )
        return network.to(device)

    def _anchors_for(self, n_cells: int) -> int:
        """Return the number of anchors for n cells."""
        if self.n_anchors != "auto":
            if self.n_anchors > n_cells:
                raise ValueError(
                    f"n_anchors is {self.n_anchors}, but there are only {n_cells} cells."
                )
            return self.n_anchors
        wanted = max(2, min(MAX_ANCHORS, n_cells // CELLS_PER_ANCHOR))
        if self.n_clusters != "auto":
            wanted = max(wanted, min(n_cells, 4 * self.n_clusters))
        return wanted

    def _warn_unseen(self, counts: sparse.csr_matrix, names: object) -> None:
        """Report cells without any count in the model's genes."""
        blank = np.flatnonzero(np.diff(counts.indptr) == 0)
        if blank.size:
            warnings.warn(
                f"{blank.size} cells have no counts in the {counts.shape[1]} genes used (the "
                f"first: '{names[blank[0]]}'); their clusters mean nothing: consider removing "
                f"them.",
                stacklevel=3,
            )

    def _check_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            raise ValueError("this model is not fitted yet; call fit(adata) first.")


def _read(source: AnnData | str | Path) -> AnnData:
    """Return an AnnData from itself or from a file."""
    if isinstance(source, AnnData):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(
            f"adata is a {type(source).__name__}; give an AnnData or the path of a file."
        )
    return readers.read(source)
