"""Tools on AnnData, in scanpy's manner: results go into obs, obsm and uns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer._version import __version__
from bgformer.anchors import DEFAULT_RESOLUTION, Partition, partition
from bgformer.model import BGFormer
from bgformer.training import Schedule, one_thread

if TYPE_CHECKING:
    from anndata import AnnData


def cluster(
    adata: AnnData,
    *,
    n_clusters: int | str = "auto",
    resolution: float = DEFAULT_RESOLUTION,
    batch_key: str | None = None,
    layer: str | None = None,
    n_top_genes: int = 2000,
    n_anchors: int | str = "auto",
    n_latent: int = 64,
    max_steps: int = Schedule.max_steps,
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
        Cells x genes, with raw counts in ``X`` or in a layer.
    n_clusters
        Number of clusters, or "auto" to find it.
    resolution
        Resolution of the clustering when the number is not given; higher gives more clusters.
    batch_key
        Column of ``adata.obs`` with the batch of each cell.
    layer
        Layer that holds the counts; None for ``X``.
    n_top_genes
        Highly variable genes to use.
    n_anchors
        Anchor tokens, or "auto" (256; fewer below 2560 cells).
    n_latent
        Dimensions of the latent space, a multiple of 4.
    max_steps
        Training steps of 256 cells each.
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
        Share of the cell's anchor weights that lies in its cluster, 0..1.
    ``adata.obsm["X_" + key_added]``
        Latent, n x n_latent float32.
    ``adata.obsm[key_added + "_anchors"]``
        Weights of the cells on the anchors, sparse n x m, rows summing to 1.
    ``adata.uns[key_added]``
        "params", "version", "seed", "resolution", "n_clusters", "history" (loss and terms at each
        step), "anchors" (m x n_latent), "anchor_clusters" (m), "genes".

    Raises
    ------
    CountsError, ValueError
        If the counts or a setting cannot be used; `adata` is then unchanged.
    """
    model = BGFormer(
        n_clusters=n_clusters,
        resolution=resolution,
        n_anchors=n_anchors,
        n_top_genes=n_top_genes,
        n_latent=n_latent,
        max_steps=max_steps,
        device=device,
        seed=seed,
        verbose=verbose,
    ).fit(adata, layer=layer, batch_key=batch_key)
    adata = adata.copy() if copy else adata
    params = model.settings() | {"layer": layer, "batch_key": batch_key}
    adata.obsm[f"X_{key_added}"] = model.latent_
    adata.obsm[f"{key_added}_anchors"] = model.weights_
    adata.uns[key_added] = {
        "params": {name: value for name, value in params.items() if value is not None},
        "version": __version__,
        "seed": model.seed,
        "history": model.history_,
        "anchors": model.anchors_,
        "genes": model.genes_.astype(object),
    }
    _store(adata, key_added, model.partition_)
    return adata if copy else None


def recluster(
    adata: AnnData,
    *,
    resolution: float | None = None,
    n_clusters: int | None = None,
    key_added: str = "bgformer",
    copy: bool = False,
) -> AnnData | None:
    """Cluster again at another resolution, or into a given number; nothing is trained.

    Parameters
    ----------
    adata
        With the results of :func:`cluster`.
    resolution
        Resolution of the clustering; higher gives more clusters.
    n_clusters
        Number of clusters wanted instead.
    key_added
        Name under which :func:`cluster` stored its results.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy. ``obs[key_added]``, its confidence, and "anchor_clusters", "resolution" and
    "n_clusters" in ``uns[key_added]`` are replaced.

    Raises
    ------
    ValueError
        If `adata` has no results under this name, or the request cannot be met.
    """
    if key_added not in adata.uns or f"{key_added}_anchors" not in adata.obsm:
        raise ValueError(
            f"adata has no results named '{key_added}'; run bgformer.tl.cluster(adata) first."
        )
    weights = sparse.csr_matrix(adata.obsm[f"{key_added}_anchors"])
    with one_thread():
        found = partition(weights, resolution, n_clusters, seed=int(adata.uns[key_added]["seed"]))
    adata = adata.copy() if copy else adata
    _store(adata, key_added, found)
    return adata if copy else None


def _store(adata: AnnData, key: str, found: Partition) -> None:
    """Write a partition into obs and uns."""
    n_clusters = int(found.anchor_clusters.max()) + 1
    names = [str(i) for i in range(n_clusters)]
    adata.obs[key] = pd.Categorical.from_codes(found.labels, categories=names)
    adata.obs[f"{key}_confidence"] = found.confidence
    stored: dict[str, Any] = adata.uns[key]
    stored["anchor_clusters"] = np.asarray(found.anchor_clusters)
    stored["resolution"] = found.resolution
    stored["n_clusters"] = n_clusters
