"""Tools on AnnData, in scanpy's manner: results go into obs, obsm and uns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anndata import AnnData
from scipy import sparse

from bgformer.arguments import positive, whole, whole_or_auto
from bgformer.fit.trainer import Schedule
from bgformer.graph.anchor_graph import MIN_CELLS
from bgformer.graph.communities import partition
from bgformer.graph.stability import RESOLUTIONS, over_resolutions
from bgformer.messages import InputError
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.refits import fitted_to_half
from bgformer.pipeline.settings import Settings
from bgformer.runtime.devices import one_thread
from bgformer.store.results import check_column, check_key, label, results, store, store_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import pandas as pd

__all__ = ["cluster", "recluster", "resolutions", "results"]


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | str = "auto",
    resolution: float | None = None,
    batch_key: str | None = None,
    layer: str | None = None,
    n_top_genes: int = 2000,
    n_anchors: int | str = "auto",
    n_latent: int = 32,
    max_steps: int = Schedule.max_steps,
    min_cells: int = MIN_CELLS,
    device: str = "auto",
    seed: int = 0,
    key_added: str = "bgformer",
    copy: bool = False,
    verbose: bool = True,
) -> AnnData | None:
    """Cluster the cells of `adata` from their raw counts.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts in ``X`` or in a layer. Of a backed AnnData, ``X`` is read a
        block of cells at a time; the results are in memory.
    n_clusters
        Number of clusters, or "auto" to find it. Groups that stand apart are the last to be
        merged, so of few clusters one can be very small.
    resolution
        Resolution of the clustering when the number is not given; higher gives more clusters.
        None for the default, 0.8, with splits that have no evidence refused: cells of a single
        type are then one cluster, with a warning that says how many were considered.
    batch_key
        Column of ``adata.obs`` with the batch of each cell.
    layer
        Layer that holds the counts; None for ``X``.
    n_top_genes
        Highly variable genes to use.
    n_anchors
        Anchors of both attention heads together, or "auto" (1024; fewer below 2560 cells).
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
    key_added
        Name of the results.
    copy
        Return a copy with the results instead of adding them to `adata`.
    verbose
        Show progress.

    Returns
    -------
    None, or the copy. These are set:

    ``adata.obs[key_added]``
        Cluster of each cell, categorical, "0" the largest.
    ``adata.obs[key_added + "_confidence"]``
        Probability that the cell is of its cluster's main type, 0..1: its weight on the anchors of
        its cluster, each counted by the share of resolutions, from a third to three times the one
        used, at which it stays with the largest part of the cluster.
    ``adata.obsm["X_" + key_added]``
        Latent, n x n_latent float32, in units of the spread of like cells.
    ``adata.obsm[key_added + "_anchors"]``
        Weights of the cells on the anchors, sparse n x m, rows summing to 1.
    ``adata.uns[key_added]``
        "params", "version", "seed", "resolution", "n_clusters", "n_considered" (clusters before
        splits without evidence were refused), "n_cells", "cells" (a number for each cell, by which
        the results know their own), "history" (loss and terms at each step),
        "anchors" (m x n_latent), "links" between them (sparse m x m: the weights that cells have
        on both), "anchor_clusters" (m), "genes", "profiles" (held-out counts of
        each anchor of the linear head, see :class:`bgformer.graph.evidence.Profiles`) and
        "evidence", a table of what sets each cluster apart from the one nearest to it (see
        :func:`bgformer.graph.evidence.evidence`).

    Raises
    ------
    CountsError, ValueError
        If the counts or a setting cannot be used; `adata` is then unchanged.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData.")
    check_key(adata, key_added)
    settings = Settings(
        n_clusters=n_clusters,
        resolution=resolution,
        n_anchors=n_anchors,
        n_top_genes=n_top_genes,
        n_latent=n_latent,
        max_steps=max_steps,
        min_cells=min_cells,
        device=device,
        seed=seed,
    )
    what = {"layer": layer, "batch_key": batch_key}
    fitted = fit_model(settings, adata, InMemoryPlaces(), **what, verbose=verbose)
    adata = _copy(adata) if copy else adata
    store(adata, fitted, key_added, **what)
    return adata if copy else None


def recluster(
    adata: AnnData,
    *,
    resolution: float | None = None,
    n_clusters: int | str = "auto",
    cluster_name: str | None = None,
    key_added: str = "bgformer",
    copy: bool = False,
) -> AnnData | None:
    """Cluster again at another resolution, or into a given number; nothing is trained.

    Parameters
    ----------
    adata
        With the results of :func:`cluster`.
    resolution
        Resolution of the clustering; higher gives more clusters. None for the default, as in
        :func:`cluster`.
    n_clusters
        Number of clusters wanted instead, or "auto" to let the resolution decide.
    cluster_name
        Column of ``obs`` for the new clusters, beside those that are there; None replaces these.
    key_added
        Name under which :func:`cluster` stored its results.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy. ``obs[key_added]``, its confidence, and "anchor_clusters", "resolution" and
    "n_clusters" in ``uns[key_added]`` are replaced; with `cluster_name`, ``obs[cluster_name]`` and
    ``obs[cluster_name + "_confidence"]`` are added and all else stays as it is.

    Raises
    ------
    ValueError
        If `adata` has no results under this name, the column is there and not from bgformer, or
        the request cannot be met.
    """
    stored = results(adata, key_added)
    beside = cluster_name not in (None, key_added)
    if beside:
        check_column(adata, cluster_name)
    resolution = None if resolution is None else positive("resolution", resolution)
    n_clusters = whole_or_auto("n_clusters", n_clusters)
    weights = sparse.csr_matrix(adata.obsm[f"{key_added}_anchors"])
    with one_thread():
        found = partition(
            weights,
            resolution,
            None if n_clusters == "auto" else n_clusters,
            seed=int(stored["seed"]),
            min_cells=int(stored["params"]["min_cells"]),
            links=_links_of_all(adata, stored),
        )
    adata = _copy(adata) if copy else adata
    if beside:
        label(adata, cluster_name, found)
    else:
        store_clusters(adata, key_added, found)
    return adata if copy else None


def resolutions(
    adata: AnnData,
    resolutions: Sequence[float] = RESOLUTIONS,
    *,
    n_fits: int = 0,
    key_added: str = "bgformer",
) -> pd.DataFrame:
    """Return how many clusters each resolution gives and how stable they are.

    Parameters
    ----------
    adata
        With the results of :func:`cluster`; not changed.
    resolutions
        Resolutions to try.
    n_fits
        Models to train anew, each on a random half of the cells and with its own seed. The raw
        counts must be where :func:`cluster` found them. Each takes about as long as that did. With
        0 nothing is trained.
    key_added
        Name under which :func:`cluster` stored its results.

    Returns
    -------
    A row for each resolution: "resolution", "n_clusters", "stability", the mean adjusted Rand
    index (1 at most) with the clusters of cells drawn anew from these, with replacement, and if
    models are trained anew, "retrained", the mean adjusted Rand index with their clusters of all
    cells. The second is lower: it includes what training and the choice of cells add.

    Raises
    ------
    ValueError
        If `adata` has no results under this name, a resolution is not above 0, or the counts for
        training are not there.
    """
    stored = results(adata, key_added)
    wanted = sorted(positive("resolution", one) for one in resolutions)
    if not wanted:
        raise InputError(
            "no-resolution", "{name[resolutions]} is empty; give at least one resolution."
        )
    weights = sparse.csr_matrix(adata.obsm[f"{key_added}_anchors"])
    others = [
        fitted_to_half(adata, stored["params"], draw)
        for draw in range(whole("n_fits", n_fits, least=0))
    ]
    with one_thread():
        return over_resolutions(
            weights,
            wanted,
            int(stored["seed"]),
            others,
            min_cells=int(stored["params"]["min_cells"]),
        )


def _links_of_all(adata: AnnData, stored: dict[str, Any]) -> sparse.csr_matrix | None:
    """Return the stored links between anchors, or None if `adata` has a part of the cells only."""
    return sparse.csr_matrix(stored["links"]) if adata.n_obs == stored["n_cells"] else None


def _copy(adata: AnnData) -> AnnData:
    """Return a copy in memory; AnnData copies a backed one only into another file."""
    return adata.to_memory() if adata.isbacked else adata.copy()
