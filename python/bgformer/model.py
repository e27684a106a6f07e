"""BGFormer, the estimator: fit, predict, embed, confidence, recluster, save, load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from bgformer.data.source import opened
from bgformer.fit.trainer import Objective, Schedule
from bgformer.graph.anchor_graph import MIN_CELLS
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.settings import Settings
from bgformer.runtime.devices import pick_device
from bgformer.store import persistence, state

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from bgformer.graph.communities import Partition
    from bgformer.pipeline.fitted import Fitted


class _Found:
    """An attribute that is there once the model is fitted."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, model: BGFormer | None, _: type) -> Any:
        """Return what the fit found."""
        return self if model is None else getattr(model._found(), self.name)


class BGFormer(BaseEstimator):
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
        Weights of the terms of the loss; None for the defaults of `trainer.Objective`.
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
        (see `fit.metric`).
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
        min_cells: int = MIN_CELLS,
        device: str = "auto",
        seed: int = 0,
        objective: Objective | None = None,
        verbose: bool = True,
    ) -> None:
        self.n_clusters = n_clusters
        self.resolution = resolution
        self.n_anchors = n_anchors
        self.n_top_genes = n_top_genes
        self.n_latent = n_latent
        self.max_steps = max_steps
        self.min_cells = min_cells
        self.device = device
        self.seed = seed
        self.objective = objective
        self.verbose = verbose

    partition_ = _Found("partition")
    weights_ = _Found("weights")
    links_ = _Found("links")
    latent_ = _Found("latent")
    anchors_ = _Found("anchors")
    evidence_ = _Found("evidence")
    profiles_ = _Found("profiles")
    genes_ = _Found("genes")
    batches_ = _Found("batches")
    history_ = _Found("history")
    network_ = _Found("network")

    @property
    def labels_(self) -> np.ndarray:
        """Cluster of each training cell, shape (n,): ``partition_.labels``."""
        return self._found().partition.labels

    def __repr__(self) -> str:
        """Return what is fitted, in one line."""
        if self.__sklearn_is_fitted__():
            (n, m), k = self.weights_.shape, self.partition_.n_clusters
            return f"BGFormer, fitted: {n} cells, clusters: {k}, anchors: {m}"
        return "BGFormer, not fitted"

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
        settings = self._settings()
        with opened(adata) as cells:
            fitted = fit_model(
                settings,
                cells,
                InMemoryPlaces(),
                layer=layer,
                batch_key=batch_key,
                verbose=self.verbose,
            )
        self._fitted = fitted
        return self

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
        fitted = self._found()
        if resolution is None and n_clusters is None:
            resolution, n_clusters = fitted.settings.resolution, fitted.settings.wanted_clusters
        self._fitted = fitted.reclustered(resolution, n_clusters)
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
        with opened(adata) as cells:
            return np.concatenate(list(self._found().embed(cells, layer=layer)))

    def predict(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the cluster of each cell as an integer, shape (n,), by the fitted anchors."""
        return self._found().assign(self.embed(adata, layer=layer))[0]

    def confidence(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return how likely each cell is of its cluster's main type, shape (n,), 0..1.

        It is the cell's weight on the anchors of its cluster, each times that anchor's support;
        see ``partition_``.
        """
        return self._found().assign(self.embed(adata, layer=layer))[1]

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
        persistence.write(directory, *state.to_state(self._found()), overwrite=overwrite)

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
            return cls.of(state.from_state(tensors, description, device=device))

    @classmethod
    def of(cls, fitted: Fitted) -> BGFormer:
        """Return an estimator with a model that is fitted already."""
        names = fitted.settings.__dataclass_fields__
        model = cls(**{name: getattr(fitted.settings, name) for name in names})
        model._fitted = fitted
        return model

    @property
    def fitted(self) -> Fitted:
        """All that the fit found, as one object."""
        return self._found()

    def settings(self) -> dict[str, Any]:
        """Return the arguments that decide what this model finds, checked."""
        return self._settings().described()

    def _settings(self) -> Settings:
        """Return the arguments as they are now, checked."""
        given = self.get_params(deep=False)
        given["objective"] = given["objective"] or Objective()
        del given["verbose"]
        return Settings(**given)

    def _found(self) -> Fitted:
        """Return what the fit found, or raise NotFittedError, which is a ValueError."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this model is not fitted yet; call fit(adata) first.")
        return self._fitted

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a fitted model."""
        return hasattr(self, "_fitted")
