"""The estimator BGFormer: fit, predict, embed, confidence, recluster, save, load."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from bgformer.arguments import flag, text_or_none
from bgformer.data.source import opened
from bgformer.fit.schedule import Objective, Schedule
from bgformer.graph.defaults import MIN_CELLS
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.prediction import NewCells
from bgformer.pipeline.settings import Settings
from bgformer.store.looks import Looks, new_looks
from bgformer.store.models import read_model, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from bgformer.graph.communities import Partition
    from bgformer.pipeline.fitted import Fitted


class _Found:
    """An attribute that exists only after fitting."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, model: BGFormer | None, _: type) -> Any:
        """Return the fitted value; raise NotFittedError if there is none."""
        return self if model is None else attrgetter(self.name)(model._found())


class BGFormer(BaseEstimator):  # type: ignore[misc]
    """Cluster cells by bipartite attention between cells and anchors.

    Below, n is the number of training cells, m of anchors, g of genes used and k of clusters.

    Parameters
    ----------
    n_clusters
        Number of clusters, or "auto" to choose it from the anchor graph. Well-separated groups are
        merged last, so a small number can include a very small cluster.
    resolution
        Resolution of the Leiden clustering of the anchors; higher values give more clusters. Not
        allowed together with a number of clusters. None uses 0.8 and undoes splits without
        evidence, so that cells of a single type form one cluster.
    n_anchors
        Total number of anchors of both attention heads, or "auto": 1024, and fewer for less than
        2560 cells.
    n_top_genes
        Number of highly variable genes to use.
    n_latent
        Number of latent dimensions, at least 4. The linear head has 5/8 of them.
    max_steps
        Number of training steps; each sees 256 cells. If there are more than 20,000 cells and more
        than ``256 * max_steps``, genes are selected by, and training uses, a random sample of the
        larger number. All cells are then clustered.
    min_cells
        Minimum number of cells in a cluster. A smaller cluster is merged into the one it is most
        linked to, unless `n_clusters` can only be reached with smaller clusters.
    device
        "auto" (cuda, then mps, then cpu) or the name of a torch device.
    seed
        Random seed. The same seed gives the same clusters on the same kind of machine.
    objective
        Weights of the loss terms; None uses the defaults of `bgformer.fit.schedule.Objective`.
    verbose
        Show progress.

    Attributes
    ----------
    partition_
        Clusters of the training cells, a `bgformer.graph.communities.Partition`.
    labels_
        Cluster of each training cell, shape (n,), 0 the largest.
    weights_
        Attention weights of the training cells on the anchors, CSR n x m, rows summing to 1.
    links_
        Links between anchors, CSR m x m: ``B.T @ B`` for the weights B.
    latent_
        Latent space, n x n_latent float32, in units of the spread of similar cells.
    anchors_
        Anchors in the latent space, m x n_latent float32.
    evidence_
        What separates each cluster from its nearest; see `bgformer.graph.evidence.evidence`.
    profiles_
        Held-out counts of each anchor; see `bgformer.graph.evidence.Profiles`.
    genes_
        Names of the genes used, shape (g,).
    batches_
        Names of the batches.
    history_
        "step", "loss" and each unweighted loss term, arrays of shape (max_steps,).
    network_
        The trained torch module.

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
    labels_ = _Found("partition.labels")
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

    def __repr__(self) -> str:
        """Describe the model in one line."""
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
        """Train on raw counts and cluster the cells.

        Parameters
        ----------
        adata
            Cells x genes with raw counts: an AnnData, in memory or backed, or the path of an .h5ad
            file, a .zarr store, a 10x .h5 file or a matrix-market folder. Counts in a backed
            AnnData, an .h5ad file or a .zarr store are read one block of cells at a time.
        layer
            Layer that holds the counts; None for ``X``.
        batch_key
            Column of ``adata.obs`` with the batch of each cell; None if there is one batch.

        Returns
        -------
        The fitted model itself. `adata` is not changed.

        Raises
        ------
        CountsError, ValueError
            If the counts or a setting cannot be used; the message says why.
        FileNotFoundError, TypeError
            If the path does not exist, or `adata` is neither an AnnData nor a path.
        FloatingPointError
            If the loss is not finite.
        """
        settings = self._settings()
        verbose = flag("verbose", self.verbose)
        what = {n: text_or_none(n, v) for n, v in (("layer", layer), ("batch_key", batch_key))}
        with opened(adata) as cells:
            fitted = fit_model(settings, cells, InMemoryPlaces(), **what, verbose=verbose)
        self._fitted, self._looks = fitted, new_looks(fitted.partition.n_clusters)
        return self

    def recluster(
        self, *, resolution: float | None = None, n_clusters: int | None = None
    ) -> Partition:
        """Re-cluster the anchors without retraining.

        Parameters
        ----------
        resolution
            New resolution. If neither argument is given, the settings of the model are used.
        n_clusters
            Number of clusters; give this or `resolution`, not both.

        Returns
        -------
        The new partition. It replaces ``partition_``, and `predict` uses it from now on.

        Raises
        ------
        ValueError
            If the model is not fitted, or no such clusters are possible.
        """
        fitted = self._found()
        if resolution is None and n_clusters is None:
            resolution, n_clusters = fitted.settings.resolution, fitted.settings.wanted_clusters
        now = fitted.reclustered(resolution, n_clusters)
        self._fitted, self._looks = now, self._looks.of_heirs(fitted, now)
        return self.partition_

    def embed(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the latent representation of cells, n x n_latent float32.

        Genes are matched by name. Missing genes are treated as not measured, with a warning.

        Cells from a new batch are placed by their counts alone. The metric shrinks directions in
        which the training batches differ; it cannot correct what only the new batch has.

        Parameters
        ----------
        adata, layer
            The cells and the layer of their raw counts, as in `fit`; not changed.

        Raises
        ------
        CountsError, ValueError
            If the model is not fitted, fewer than half of its genes are there, or the counts
            cannot be used.
        """
        fitted, layer = self._found(), text_or_none("layer", layer)
        with opened(adata) as cells:
            return np.concatenate(list(fitted.embed(NewCells(fitted, cells, layer))))

    def predict(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the cluster of each cell, shape (n,) int32.

        It is the cluster whose anchors have most of the cell's weight. Arguments and errors are
        those of `embed`.
        """
        return self._found().assign(self.embed(adata, layer=layer))[0]

    def confidence(self, adata: AnnData | str | Path, *, layer: str | None = None) -> np.ndarray:
        """Return the probability that each cell belongs to its cluster's dominant type.

        Shape (n,) float32, from 0 to 1: the sum of ``w_ij s_j`` over the anchors j of the cell's
        cluster, with w_ij the weight of cell i on anchor j and s_j its
        ``partition_.anchor_support``. Arguments and errors are those of `embed`.
        """
        return self._found().assign(self.embed(adata, layer=layer))[1]

    def save(self, directory: str | Path, *, overwrite: bool = False) -> None:
        """Save the model, with the names of its clusters, as a folder of safetensors and JSON.

        The folder is written completely or not at all.

        Parameters
        ----------
        directory
            Folder to create.
        overwrite
            Replace a saved model at this place. A folder with anything else is never replaced.

        Raises
        ------
        ValueError
            If the model is not fitted, or `directory` is not a path.
        FileExistsError
            If `directory` exists and is not a saved model, or is one and `overwrite` is False.
        """
        write_model(directory, self._found(), self.looks, overwrite=overwrite)

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto") -> BGFormer:
        """Load a model that `save` wrote. The files cannot run code.

        Parameters
        ----------
        directory
            Folder of the saved model.
        device
            "auto" (cuda, then mps, then cpu) or the name of a torch device.

        Raises
        ------
        FileNotFoundError
            If there is no model in `directory`.
        ValueError
            If a file is damaged or from an incompatible version, or an argument cannot be used.
        """
        return cls.of(*read_model(directory, device))

    @classmethod
    def of(cls, fitted: Fitted, looks: Looks | None = None) -> BGFormer:
        """Return an estimator that wraps an already fitted model."""
        names = fitted.settings.__dataclass_fields__
        model = cls(**{name: getattr(fitted.settings, name) for name in names})
        model._fitted, model._looks = fitted, looks or new_looks(fitted.partition.n_clusters)
        return model

    @property
    def fitted(self) -> Fitted:
        """The complete result of the fit as one object."""
        return self._found()

    @property
    def looks(self) -> Looks:
        """Names and colours of the clusters, a `bgformer.store.looks.Looks`."""
        self._found()
        return self._looks

    def settings(self) -> dict[str, Any]:
        """Return the arguments that affect the result, checked, as a dictionary."""
        return self._settings().described()

    def _settings(self) -> Settings:
        """Return the current arguments, checked."""
        given = self.get_params(deep=False)
        if given["objective"] is None:
            given["objective"] = Objective()
        del given["verbose"]
        return Settings(**given)

    def _found(self) -> Fitted:
        """Return the result of the fit, or raise NotFittedError, which is a ValueError."""
        fitted: Fitted | None = getattr(self, "_fitted", None)
        if fitted is None:
            raise NotFittedError("this model is not fitted yet; call fit(adata) first.")
        return fitted

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the model is fitted."""
        return hasattr(self, "_fitted")
