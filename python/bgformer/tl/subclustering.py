"""Divide clusters again, with genes and anchors of their own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import pandas as pd

from bgformer.arguments import flag, is_several, positive, text_or_none, whole_or_auto, wrong
from bgformer.data.checks import MIN_CELLS
from bgformer.fit.schedule import Objective
from bgformer.graph.defaults import DEFAULT_RESOLUTION
from bgformer.messages import InputError
from bgformer.pipeline.fitting import place_cells
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.settings import Settings
from bgformer.pipeline.training import train_model
from bgformer.store.reading import results
from bgformer.store.results import copy_of
from bgformer.store.subclusters import check_subclusters, divided, store_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from anndata import AnnData

    from bgformer.graph.communities import Partition


def subcluster(
    adata: AnnData,
    clusters: str | int | Sequence[str | int],
    *,
    n_clusters: int | str = "auto",
    resolution: float | None = None,
    cluster_name: str | None = None,
    device: str = "auto",
    key_added: str = "bgformer",
    copy: bool = False,
    verbose: bool = True,
) -> AnnData | None:
    """Divide one or several clusters again, by a model that is fitted to their cells alone.

    The model selects its own genes, so it sees differences that the genes of all cells do not
    show. The parts of cluster "0" are called "0.0", "0.1", and so on, the largest first; they can
    be divided again, into "0.0.0" and so on. Dividing "0" again replaces all of its parts. The
    results of :func:`cluster` are not changed.

    Where there is no evidence for a split, the cells keep the name of their cluster, and a warning
    says how many parts were considered.

    :func:`recluster` on a subset, ``part = adata[adata.obs["bgformer"] == "0"].copy()``, also
    divides a cluster. It needs no training and no counts, but uses the anchors and genes of all
    cells.

    Parameters
    ----------
    adata
        Cells with the results of :func:`cluster`, and the raw counts where :func:`cluster` read
        them.
    clusters
        Name of a cluster, or a list of names. Several clusters are divided together, into "0+3.0",
        "0+3.1", and so on, as if they were one.
    n_clusters
        Number of parts, or "auto".
    resolution
        Resolution of the clustering; higher values give more parts. None splits only where there
        is evidence, as in :func:`cluster`.
    cluster_name
        Column of ``obs`` for all clusters, with those that were divided replaced by their parts.
        None is ``key_added + "_sub"``. If the column is there from an earlier call, clusters in
        it are divided further.
    device
        "auto" (cuda, then mps, then cpu) or the name of a torch device.
    key_added
        Name under which :func:`cluster` stored its results. Batches, number of genes and the other
        settings of that run are used again, with the same seed.
    copy
        Return a copy with the results instead of changing `adata`.
    verbose
        Show progress.

    Returns
    -------
    None, or the copy if `copy` is True. These are set:

    ``adata.obs[cluster_name]``
        Cluster or part of each cell, categorical.
    ``adata.obs[cluster_name + "_confidence"]``
        Confidence of the cells in their clusters. Of cells in parts, it is the probability that
        the cell belongs to the dominant type of its part, given that it belongs to the cluster.
    ``adata.uns[cluster_name]``
        Dictionary with "splits" (table of what was divided: "cluster", "n_cells", "n_clusters",
        "n_considered", "resolution", "seed") and "evidence" (table of what separates each part
        from its nearest; see :func:`cluster`), "key" and "version".
    ``adata.uns[cluster_name + "_colors"]``
        Colour of each cluster; those that were not divided keep theirs.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no results named `key_added`, there is no cluster of a given name, it has
        fewer than 20 cells, some of these were divided together with others, the counts or a
        setting cannot be used, the column is not from bgformer, or the clusters have changed since
        it was made.

    Examples
    --------
    >>> bgf.tl.subcluster(adata, "0")
    >>> bgf.tl.subcluster(adata, "0.1")
    >>> adata.obs["bgformer_sub"].value_counts()
    """
    stored = results(adata, key_added)
    copy, verbose = flag("copy", copy), flag("verbose", verbose)
    name = text_or_none("cluster_name", cluster_name)
    name = f"{key_added}_sub" if name is None else name
    check_subclusters(adata, name, key_added)
    base = name if name in adata.uns else key_added
    which = divided(adata, base, key_added, _names_in(clusters))
    if which.cells.sum() < MIN_CELLS:
        raise InputError(
            "too-few-cells",
            "cluster '{cluster}' has {n_cells} cells, too few to divide; at least {least} are "
            "needed.",
            cluster=which.name,
            n_cells=int(which.cells.sum()),
            least=MIN_CELLS,
        )
    params = dict(stored["params"])
    where = {argument: params.pop(argument, None) for argument in ("layer", "batch_key")}
    params |= {
        "n_clusters": whole_or_auto("n_clusters", n_clusters),
        "resolution": None if resolution is None else positive("resolution", resolution),
        "min_cells": min(int(params["min_cells"]), int(which.cells.sum())),
        "n_anchors": "auto",
        "device": device,
        "objective": Objective(**params["objective"]),
    }
    part = _counts_of(adata, which.cells, **where)
    trained, sample = train_model(Settings(**params), part, **where, verbose=verbose)
    fitted = place_cells(trained, sample, InMemoryPlaces(), part.obs_names)
    _warn_of_one(which.name, fitted.partition)
    adata = copy_of(adata) if copy else adata
    store_parts(adata, name, base, which, fitted, key_added)
    return adata if copy else None


def _names_in(clusters: Any) -> list[str]:
    """Return the names of clusters, each once."""
    given = list(clusters) if is_several(clusters) else [clusters]
    is_name = [isinstance(one, str | int) and not isinstance(one, bool) for one in given]
    if not given or not all(is_name):
        raise wrong("clusters", clusters, "the name of a cluster, or a list of names")
    return list(dict.fromkeys(map(str, given)))


def _counts_of(
    adata: AnnData, cells: np.ndarray, layer: str | None, batch_key: str | None
) -> AnnData:
    """Return some cells with nothing but their counts and batches."""
    matrix = adata.X if layer is None else adata.layers[layer]
    part = ad.AnnData(
        matrix[cells],
        obs=adata.obs.loc[cells, [] if batch_key is None else [batch_key]],
        var=pd.DataFrame(index=adata.var_names),
    )
    if layer is not None:
        part.layers[layer] = part.X
    return part


def _warn_of_one(name: str, found: Partition) -> None:
    """Warn if a cluster is not divided for lack of evidence, and say what was considered."""
    if found.n_clusters == 1:
        said = f"cluster '{name}' is not divided, because no group of its cells is separated from "
        said += "the others by a gap"
        if found.n_considered > 1:
            said += (
                f"; {found.n_considered} parts without such evidence were considered: "
                f"resolution={DEFAULT_RESOLUTION} returns them"
            )
        warnings.warn(f"{said}.", stacklevel=3)
