"""BGFormer, the estimator: fit, predict, embed, confidence, recluster."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bgformer._version import __version__
from bgformer.arguments import not_both, positive, whole, whole_or_auto
from bgformer.data import checks
from bgformer.data.counts import cell_totals, with_size_factors
from bgformer.data.genes import cut_genes, match_genes, select_genes
from bgformer.data.sample import Sample
from bgformer.data.source import opened, source_of
from bgformer.fit.dec import refine
from bgformer.fit.embedding import embed
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.trainer import Objective, Schedule, set_tokens, train
from bgformer.graph import anchor_graph, anchors, communities, votes
from bgformer.graph.evidence import Profiles, evidence, profiles
from bgformer.graph.placement import gathered, placements
from bgformer.network import attention
from bgformer.network.heads import LEAST_LATENT, N_HEADS
from bgformer.network.network import NEIGHBOURS, Network
from bgformer.runtime import ranks
from bgformer.runtime.devices import one_thread, pick_device
from bgformer.runtime.progress import Progress, say
from bgformer.store import persistence
from bgformer.store.places import InMemoryPlaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData
    from scipy import sparse

    from bgformer.data.source import StoredCells
    from bgformer.graph.communities import Partition
    from bgformer.store.places import Places


class BGFormer:
    """Cluster cells through a bipartite attention between cells and anchors.

    Parameters
    ----------
    n_clusters
        Number of clusters, or "auto" to find it from the anchor graph. Groups that stand apart are
        the last to be merged, so of few clusters one can be very small.
    resolution
        Resolution of the Leiden clustering of the anchors, used when the number of clusters is
        not given; higher gives more clusters. None for the default, 0.8, with splits that have
        no evidence refused: cells of a single type are then one cluster.
    n_anchors
        Number of anchors of both attention heads together, or "auto": 1024, fewer below 2560
        cells.
    n_top_genes
        Highly variable genes to use.
    n_latent
        Dimensions of the latent space, 4 at least; 5/8 of them are the linear head's.
    max_steps
        Training steps of 256 cells each. Of more cells than these steps can see, and more than
        20,000, training takes a random sample; all cells are then clustered.
    min_cells
        Fewest cells of a cluster; smaller ones join the cluster nearest to them, unless a number
        of clusters is asked for that needs them.
    device
        "auto" (cuda, then mps, then cpu) or a torch device.
    seed
        The same seed gives the same clusters on the same kind of machine.
    objective
        Weights of the terms of the loss; None for the defaults of `training.Objective`.
    verbose
        Show progress.

    Attributes
    ----------
    partition_
        Clusters of the training cells: labels, confidence, anchor_clusters, resolution.
    weights_
        Weights of the training cells on the anchors of the graph, CSR n x m.
    links_
        Links between the anchors of the graph: the weights that cells have on both, CSR m x m.
    latent_
        Latent of the training cells, n x n_latent float32, in units of the spread of like cells
        (see `metric`).
    anchors_
        Anchors of the graph, m x n_latent float32.
    evidence_
        What sets each cluster apart from the one nearest to it; see `evidence.evidence`.
    profiles_
        What held-out counts say of each anchor; see `evidence.Profiles`.
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
        resolution: float | None = None,
        n_anchors: int | str = "auto",
        n_top_genes: int = 2000,
        n_latent: int = 32,
        max_steps: int = Schedule.max_steps,
        min_cells: int = anchor_graph.MIN_CELLS,
        device: str = "auto",
        seed: int = 0,
        objective: Objective | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_clusters = whole_or_auto("n_clusters", n_clusters)
        self.n_anchors = whole_or_auto("n_anchors", n_anchors, least=N_HEADS)
        self.resolution = None if resolution is None else positive("resolution", resolution)
        self.n_top_genes = whole("n_top_genes", n_top_genes)
        self.n_latent = whole("n_latent", n_latent, least=LEAST_LATENT)
        self.max_steps = whole("max_steps", max_steps)
        self.min_cells = whole("min_cells", min_cells)
        self.device = device
        self.seed = whole("seed", seed, least=0, most=2**32 - 1)
        self.objective = objective or Objective()
        self.verbose = verbose
        not_both(self.resolution, self.n_clusters)
        if "auto" not in (self.n_clusters, self.n_anchors) and self.n_clusters > self.n_anchors:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, but n_anchors only {self.n_anchors}: clusters "
                f"are made of anchors, so ask for fewer clusters or more anchors."
            )

    def __repr__(self) -> str:
        """Return what is fitted, in one line."""
        if not hasattr(self, "weights_"):
            return "BGFormer, not fitted"
        (n, m), k = self.weights_.shape, self.partition_.n_clusters
        return f"BGFormer, fitted: {n} cells, clusters: {k}, anchors: {m}"

    @property
    def labels_(self) -> np.ndarray:
        """Cluster of each training cell, shape (n,), as in ``partition_.labels``."""
        self._check_fitted()
        return self.partition_.labels

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
            Cells x genes with raw counts, in memory or backed, or the path of an .h5ad file, a
            .zarr store, a 10x .h5 file or a matrix-market folder. Counts of a backed AnnData, an
            .h5ad file and a .zarr store are read a block of cells at a time.
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
        with opened(adata) as cells:
            self.fit_cells(cells, InMemoryPlaces(), layer=layer, batch_key=batch_key)
        return self

    def fit_cells(
        self,
        cells: AnnData | StoredCells,
        places: Places,
        *,
        layer: str | None = None,
        batch_key: str | None = None,
    ) -> None:
        """Do what `fit` does, and keep the cells' latent and weights where `places` keeps them."""
        fitted = copy.copy(self)  # a fit that fails or is interrupted leaves this model as it was
        fitted._fit(cells, places, layer, batch_key)
        self.__dict__ = fitted.__dict__

    def _fit(
        self,
        cells: AnnData | StoredCells,
        places: Places,
        layer: str | None,
        batch_key: str | None,
    ) -> None:
        """Fit, setting one attribute after the other."""
        device = pick_device(self.device)
        source = source_of(cells, layer)
        if self.n_clusters != "auto" and self.n_clusters > cells.n_obs:
            raise ValueError(
                f"n_clusters is {self.n_clusters}, but there are only {cells.n_obs} cells."
            )
        n_anchors = anchors.choose_number(cells.n_obs, self.n_anchors, self.n_clusters)
        batch, self.batches_ = checks.read_batch(cells, batch_key)
        if n_anchors <= N_HEADS * NEIGHBOURS < cells.n_obs and self.n_anchors != "auto":
            warnings.warn(
                f"n_anchors is {n_anchors}: every cell attends to all anchors of a head if there "
                f"are {NEIGHBOURS} or fewer, so clusters can hardly be told apart; use more.",
                stacklevel=3,
            )
        chosen = select_genes(source, self.n_top_genes, batch)
        self.genes_ = np.asarray(cells.var_names[chosen], dtype=str)
        seen = self.max_steps * Schedule.batch_size
        sample = Sample(source, chosen, batch, seen, self.seed)
        checks.warn_blank(sample.totals, len(chosen), cells.obs_names)
        data = sample.data
        self.median_counts_ = data.median_counts
        with one_thread() as n_threads:
            self.network_ = network_for(
                data,
                n_batches=len(self.batches_),
                n_anchors=n_anchors,
                n_latent=self.n_latent,
                seed=self.seed,
            ).to(device)
            part = "" if sample.holds_all else f", trained on {data.n_cells} of the cells"
            say(
                f"{cells.n_obs} cells x {data.n_genes} genes, {n_anchors} anchors, "
                f"{device.type}{part}",
                verbose=self.verbose,
            )
            calibrate(self.network_, data, self.seed)
            set_tokens(self.network_, data, self.seed)
            with Progress(self.max_steps, verbose=self.verbose) as progress:
                self.history_ = train(
                    self.network_,
                    data,
                    objective=self.objective,
                    schedule=replace(Schedule(), max_steps=self.max_steps),
                    seed=self.seed,
                    progress=progress,
                    n_threads=n_threads,
                )
            calibrate(self.network_, data, self.seed, trained=True)
            self.anchors_ = anchors.centres(self.network_, data, self.seed)
            self._place(sample, places, n_threads)
            if ranks.index() > 0:
                return  # the first rank has all results
            if self.objective.dec and self.partition_.n_clusters > 1:
                self._refine(sample, places, n_threads)
            self.profiles_ = profiles(self.network_, data, self.anchors_, self.seed)
            self.evidence_ = evidence(self.partition_, self.profiles_, self.genes_)
        self._say_found()

    def _say_found(self) -> None:
        """Say how many clusters there are, and warn if it is one for want of evidence."""
        found = self.partition_
        if found.n_clusters == 1 < found.n_considered:
            warnings.warn(
                f"one cluster, because no group of cells is separated from the others by a gap; "
                f"{found.n_considered} clusters without such evidence were considered: "
                f"resolution={anchor_graph.DEFAULT_RESOLUTION} returns them.",
                stacklevel=4,
            )
        plural = "" if found.n_clusters == 1 else "s"
        say(f"{found.n_clusters} cluster{plural}", verbose=self.verbose)

    def _place(self, sample: Sample, places: Places, n_threads: int) -> None:
        """Put all cells among the anchors, and cluster them."""
        parts = placements(self.network_, sample, self.anchors_, n_threads)
        if ranks.index() > 0:
            for _ in parts:  # each has gone to the first rank
                pass
            return
        places.start(len(sample.totals), self.n_latent, len(self.anchors_))
        for part in parts:
            places.add(part.latent, part.weights)
        self.latent_, self.weights_ = places.end()
        self.links_ = anchor_graph.anchor_links(self.weights_)
        self._partition(self.resolution, None if self.n_clusters == "auto" else self.n_clusters)

    def _partition(self, resolution: float | None, n_clusters: int | None) -> None:
        """Cluster the anchors."""
        self.partition_ = communities.partition(
            self.weights_,
            resolution,
            n_clusters,
            seed=self.seed,
            min_cells=self.min_cells,
            links=self.links_,
        )

    def _refine(self, sample: Sample, places: Places, n_threads: int) -> None:
        """Refine network and clusters by DEC."""
        with Progress(self.max_steps, verbose=self.verbose) as progress:
            refine(
                self.network_,
                sample.data,
                self.partition_.labels[sample.rows],
                objective=self.objective,
                schedule=replace(Schedule(), max_steps=self.max_steps),
                seed=self.seed,
                progress=progress,
            )
        self.anchors_ = anchors.centres(self.network_, sample.data, self.seed)
        self._place(sample, places, n_threads)

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
            if self.n_clusters == "auto":
                resolution = self.resolution
            else:
                n_clusters = self.n_clusters
        self._partition(resolution, n_clusters)
        self.evidence_ = evidence(self.partition_, self.profiles_, self.genes_)
        return self.partition_

    def embed(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the latent of cells, n x n_latent float32.

        Genes are matched by name. Genes that the new cells lack are treated as masked, as in
        training, with a warning; more than half missing is an error.

        Cells of a batch that the fit did not see are placed by their counts alone: the encoder
        knows no batches, only the decoder does. The metric plays down what the batches of the fit
        differed in; what only a new protocol differs in, it cannot know.

        Raises
        ------
        ValueError
            If the model is not fitted, or too few of its genes are there.
        """
        self._check_fitted()
        with opened(adata) as cells:
            return np.concatenate(list(self.embed_cells(cells, layer=layer)))

    def embed_cells(
        self, cells: AnnData | StoredCells, *, layer: str | None = None
    ) -> Iterator[np.ndarray]:
        """Yield what `embed` returns, many cells at a time."""
        source = source_of(cells, layer, min_cells=1)
        at = match_genes(cells.var_names, self.genes_)
        measured = at >= 0
        # Cells with fewer genes are compared with the training cells' median in those genes.
        expected = self.network_.gene_mean.cpu().numpy()
        share = 1.0 if measured.all() else expected[measured].sum() / expected.sum()
        totals = np.zeros(cells.n_obs)

        def blocks() -> Iterator[np.ndarray]:
            for start, counts in source.blocks():
                cut = cut_genes(counts, at)
                totals[start : start + cut.shape[0]] = cell_totals(cut)
                batch = np.zeros(cut.shape[0], dtype=np.int64)  # only the decoder needs it
                data = with_size_factors(cut, batch, share * self.median_counts_)
                with one_thread():
                    latent = embed(self.network_, data, None if measured.all() else measured)
                yield latent

        yield from gathered(blocks())
        checks.warn_blank(totals, len(at), cells.obs_names)

    def predict(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the cluster of each cell as an integer, shape (n,), by the fitted anchors."""
        return self.assign(self.embed(adata, layer=layer))[0]

    def confidence(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return how likely each cell is of its cluster's main type, shape (n,), 0..1.

        See `anchors.vote` and `anchors.Partition` for the formula.
        """
        return self.assign(self.embed(adata, layer=layer))[1]

    def assign(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cluster and confidence, both (n,), of cells that `embed` gave the latent of."""
        self._check_fitted()
        weights = attention.anchor_weights(latent, self.anchors_)
        found = self.partition_
        return votes.vote(weights, found.anchor_clusters, found.anchor_support)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Write the model into a folder: tensors as safetensors, the rest as JSON.

        The folder appears complete or not at all.

        Parameters
        ----------
        directory
            The folder.
        overwrite
            Replace a model that is there; nothing else is ever replaced.

        Raises
        ------
        ValueError
            If the model is not fitted.
        FileExistsError
            If `directory` exists, and is not a model to be replaced.
        """
        persistence.write(directory, *self.state(), overwrite=overwrite)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all that `from_state` makes this model from again: tensors, and a description.

        Raises
        ------
        ValueError
            If the model is not fitted.
        """
        self._check_fitted()
        resolution = self.partition_.resolution
        tensors = {f"network.{k}": v.cpu() for k, v in self.network_.state_dict().items()}
        arrays = {
            "latent": self.latent_,
            "anchors": self.anchors_,
            "anchor_clusters": self.partition_.anchor_clusters,
            "anchor_support": self.partition_.anchor_support,
            "nearest": self.partition_.nearest,
            "links": self.partition_.links,
            "weights.data": self.weights_.data,
            "weights.indices": self.weights_.indices,
            "weights.indptr": self.weights_.indptr,
        }
        arrays |= {f"history.{name}": values for name, values in self.history_.items()}
        arrays |= {f"profiles.{k}": v for k, v in self.profiles_._asdict().items()}
        tensors |= {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
        description = {
            "version": __version__,
            "settings": self.settings(),
            "median_counts": self.median_counts_,
            "n_considered": self.partition_.n_considered,
            # nan, where the number of clusters was set, is not JSON
            "resolution": None if np.isnan(resolution) else resolution,
            "genes": self.genes_.tolist(),
            "batches": self.batches_,
        }
        return tensors, description

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto") -> BGFormer:
        """Read a model that `save` wrote; no code is run from the files.

        Raises
        ------
        FileNotFoundError
            If there is no model in `directory`.
        ValueError
            If a file is damaged, or was written by an older or newer version.
        """
        pick_device(device)  # a wrong one is not the files' fault
        tensors, description = persistence.read(directory)
        with persistence.damage_reported(directory):
            return cls.from_state(tensors, description, device=device)

    @classmethod
    def from_state(
        cls,
        tensors: dict[str, torch.Tensor],
        description: dict[str, Any],
        *,
        device: str = "auto",
    ) -> BGFormer:
        """Make a model again from what `state` returned.

        Clusters keep the numbers they have, whichever cells are there.
        """
        settings = dict(description["settings"])
        objective = Objective(**settings.pop("objective"))
        model = cls(**settings | {"device": device, "objective": objective})
        model.genes_ = np.array(description["genes"], dtype=str)
        model.batches_ = description["batches"]
        model.median_counts_ = description["median_counts"]
        model.profiles_ = Profiles(
            *(tensors[f"profiles.{name}"].numpy() for name in Profiles._fields)
        )
        network = Network.from_state(
            persistence.section(tensors, "network"), len(tensors["anchors"])
        )
        model.network_ = network.to(pick_device(device))
        history = persistence.section(tensors, "history")
        model.history_ = {name: values.numpy() for name, values in history.items()}
        model.anchors_ = tensors["anchors"].numpy()
        weights = attention.weights_from_parts(
            *(tensors[f"weights.{part}"].numpy() for part in ("data", "indices", "indptr")),
            n_anchors=len(model.anchors_),
        )
        resolution = description["resolution"]
        model.partition_ = communities.Partition(
            labels=np.empty(0, dtype=np.int32),
            confidence=np.empty(0, dtype=np.float32),
            anchor_clusters=tensors["anchor_clusters"].numpy(),
            anchor_support=tensors["anchor_support"].numpy(),
            resolution=np.nan if resolution is None else resolution,
            nearest=tensors["nearest"].numpy(),
            links=tensors["links"].numpy(),
            n_considered=description["n_considered"],
        )
        model.set_cells(tensors["latent"].numpy(), weights)
        return model

    def set_cells(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Put cells in the place of those that the model holds; anchors and clusters stay.

        Parameters
        ----------
        latent
            Of the cells, n x n_latent, from `embed`.
        weights
            Of the cells on the anchors, CSR n x m.
        """
        if len(latent) != weights.shape[0]:
            raise ValueError("latent and weights are of different numbers of cells")
        found = self.partition_
        labels, confidence = votes.vote_in_blocks(
            weights, found.anchor_clusters, found.anchor_support
        )
        self.latent_, self.weights_ = latent, weights
        self.links_ = anchor_graph.anchor_links(weights)
        self.partition_ = found._replace(labels=labels, confidence=confidence)
        self.evidence_ = evidence(self.partition_, self.profiles_, self.genes_)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that decide what this model finds."""
        names = (
            "n_clusters",
            "resolution",
            "n_anchors",
            "n_top_genes",
            "n_latent",
            "max_steps",
            "min_cells",
            "device",
            "seed",
        )
        return {name: getattr(self, name) for name in names} | {
            "objective": asdict(self.objective)
        }

    def _check_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            raise ValueError("this model is not fitted yet; call fit(adata) first.")
