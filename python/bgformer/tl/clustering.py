"""Cluster cells, and cluster them again at another resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from bgformer.arguments import (
    flag,
    positive,
    text_or_none,
    whole_or_auto,
)
from bgformer.fit.schedule import Schedule
from bgformer.graph.communities import partition_of_assigned, warn_of_one
from bgformer.graph.defaults import MIN_CELLS
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.settings import Settings
from bgformer.runtime.threads import one_thread
from bgformer.store.looks import looks_of, unassigned_in, warn_of_lost_names
from bgformer.store.reading import results
from bgformer.store.results import (
    check_column,
    check_confidence,
    check_key,
    check_storable,
    copy_of,
    label,
    store,
    store_clusters,
    weights_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from anndata import AnnData


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
    """Cluster cells from their raw counts.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts in ``X`` or in a layer. The counts of a backed AnnData are
        read one block of cells at a time; the results are kept in memory.
    n_clusters
        Number of clusters, or "auto" to choose it from the data. Well-separated groups are merged
        last, so a small number can include a very small cluster.
    resolution
        Resolution of the clustering; higher values give more clusters. Not allowed together with a
        number of clusters. None uses 0.8 and undoes splits without evidence. Cells of a single
        type then form one cluster, and a warning says how many clusters were considered.
    batch_key
        Column of ``adata.obs`` with the batch of each cell; None if there is one batch.
    layer
        Layer that holds the counts; None for ``X``.
    n_top_genes
        Number of highly variable genes to use.
    n_anchors
        Total number of anchors of both attention heads, or "auto": 1024, and fewer for less than
        2560 cells.
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
    key_added
        Name under which the results are stored.
    copy
        Return a copy with the results instead of changing `adata`.
    verbose
        Show progress.

    Returns
    -------
    None, or the copy if `copy` is True. For n cells and m anchors, these are set:

    ``adata.obs[key_added]``
        Cluster of each cell, categorical; "0" is the largest cluster.
    ``adata.uns[key_added + "_colors"]``
        Colour of each cluster, where scanpy's plots look for it.
    ``adata.obs[key_added + "_confidence"]``
        Probability that a cell belongs to its cluster's dominant type, float32 from 0 to 1. It is
        the sum of the cell's weights on the anchors of its cluster, each multiplied by the
        anchor's support. The support is the share of five resolutions, from 1/3 to 3 times the one
        used, at which the anchor stays with the largest part of its cluster.
    ``adata.obsm["X_" + key_added]``
        Latent representation, n x n_latent float32. The unit is the spread of similar cells.
    ``adata.obsm[key_added + "_anchors"]``
        Attention weights of the cells on the anchors, CSR n x m, rows summing to 1.
    ``adata.uns[key_added]``
        Dictionary with

        - "params", "version" and "seed" of the run;
        - "resolution" (nan if `n_clusters` was given), "n_clusters", and "n_considered" (number of
          clusters before splits without evidence were undone);
        - "n_cells" and "cells" (a fingerprint of each cell, by which stored results recognise
          their cells);
        - "predicted": False, or True if the model was fitted to other cells and then given these,
          as by ``bgformer predict``;
        - "history": loss and unweighted loss terms at each training step;
        - "genes": names of the genes used;
        - "anchors" (m x n_latent), "anchor_clusters" (m,), and "links" between anchors (CSR m x m:
          ``B.T @ B`` for the weights B);
        - "anchor_support" (m,), of which the confidence is made;
        - "model": the trained network as bytes, uint8, for :func:`bgformer.tl.predict` and
          :func:`bgformer.tl.model`. It takes 2.8 kB for each gene used, 5.6 MB for 2000 genes;
        - "names" of the clusters: numbers, or those of the reference if the cells were predicted;
        - "profiles": held-out counts of each anchor of the linear head; see
          `bgformer.graph.evidence.Profiles`;
        - "evidence": table of what separates each cluster from its nearest one; see
          `bgformer.graph.evidence.evidence`. In a subset it still describes all cells, until
          :func:`recluster` computes it for the cells there.

    Raises
    ------
    CountsError, ValueError
        If the counts or a setting cannot be used, or what is there under this name is not from
        bgformer or has been renamed since; `adata` is then unchanged.
    TypeError
        If `adata` is not an AnnData.
    FloatingPointError
        If the loss is not finite.

    Examples
    --------
    >>> import bgformer as bgf
    >>> bgf.tl.cluster(adata)
    >>> adata.obs["bgformer"].value_counts()
    """
    check_storable(adata)
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
    where = {"layer": layer, "batch_key": batch_key}
    what: dict[str, Any] = {name: text_or_none(name, given) for name, given in where.items()}
    copy, verbose = flag("copy", copy), flag("verbose", verbose)
    fitted = fit_model(settings, adata, InMemoryPlaces(), **what, verbose=verbose)
    adata = copy_of(adata) if copy else adata
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
    """Cluster at another resolution, or into a given number of clusters, without retraining.

    Parameters
    ----------
    adata
        Cells with the results of :func:`cluster`.
    resolution
        Resolution of the clustering; higher values give more clusters. None for the default, as in
        :func:`cluster`.
    n_clusters
        Number of clusters, or "auto" to let the resolution decide. Give this or `resolution`, not
        both.
    cluster_name
        Column of ``obs`` to add the new clusters as. None replaces the stored clusters.
    key_added
        Name under which :func:`cluster` stored its results.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy if `copy` is True. Without `cluster_name`, ``obs[key_added]``,
    ``obs[key_added + "_confidence"]`` and, in ``uns[key_added]``, "anchor_clusters", "resolution",
    "n_clusters", "n_considered" and "evidence" are replaced. With `cluster_name`, only
    ``obs[cluster_name]`` and ``obs[cluster_name + "_confidence"]`` are set. Clusters with nearly
    the same cells as before keep the names that you gave them in ``obs[key_added]`` (a number is
    not a name: numbers are by size; clusters of one name stay one category). The colours
    in ``uns[key_added + "_colors"]`` also stay; a split cluster leaves its colour to the largest
    part.

    Raises
    ------
    ValueError
        If `adata` has no results named `key_added`, if cells of one cluster have been given
        different names in ``obs[key_added]``, if the column `cluster_name` exists and is not
        from bgformer, if `resolution` is not above 0, or if the cells and anchors do not allow
        `n_clusters` clusters.

    Examples
    --------
    >>> bgf.tl.recluster(adata, resolution=1.5, cluster_name="fine")
    """
    stored = results(adata, key_added)
    copy, cluster_name = flag("copy", copy), text_or_none("cluster_name", cluster_name)
    name = key_added if cluster_name is None else cluster_name
    if name == key_added:
        check_confidence(adata, name)
    else:
        check_column(adata, name)
    resolution = None if resolution is None else positive("resolution", resolution)
    n_clusters = whole_or_auto("n_clusters", n_clusters)
    weights = sparse.csr_matrix(adata.obsm[weights_name(key_added)])
    looks = looks_of(adata, key_added, stored, weights, overwritten=name == key_added)
    with one_thread():
        found = partition_of_assigned(
            weights,
            unassigned_in(adata.obs, key_added, stored),
            resolution,
            n_clusters if isinstance(n_clusters, int) else None,
            seed=int(stored["seed"]),
            min_cells=int(stored["params"]["min_cells"]),
            links=links_of_all(adata, stored),
        )
    warn_of_one(found)
    mass = np.asarray(weights.sum(axis=0)).ravel()
    now = looks.inherited(np.asarray(stored["anchor_clusters"]), found.anchor_clusters, mass)
    if name == key_added:
        warn_of_lost_names(looks, now)
    called = adata.obs[key_added].astype(object).to_numpy()
    adata = copy_of(adata) if copy else adata
    if name != key_added:
        label(adata, name, found, now, called)
    else:
        store_clusters(adata, key_added, found, now, called)
    return adata if copy else None


def links_of_all(adata: AnnData, stored: Mapping[str, Any]) -> sparse.csr_matrix | None:
    """Return the stored links between anchors, or None if `adata` is a subset of the cells."""
    return sparse.csr_matrix(stored["links"]) if adata.n_obs == stored["n_cells"] else None
