"""Mean expression of each cluster, from one pass over the counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from bgformer.arguments import text_or_none, wrong
from bgformer.data.source import source_of
from bgformer.graph.marker_tests import held_out_p
from bgformer.messages import InputError
from bgformer.pipeline.group_sums import clusters_of, dealer_for, sums_of
from bgformer.store.origin import entry, model_behind
from bgformer.store.results import confidence_name

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.data.moments import HeldOut, Sums
    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted

ENTRY = "bgformer_profiles"
"""Where profiles keep which cells and counts they are of."""
HELD_OUT_P = "held_out_p"
"""The layer of profiles with p-values from held-out counts."""
_MOST_CLUSTERS = 1000
"""A column with more values than this does not name clusters."""


def profiles(
    adata: AnnData, cluster_name: str = "bgformer", *, layer: str | None = None
) -> AnnData:
    """Return the mean expression of each cluster, for all genes of `adata`.

    The counts are read once, a block of cells at a time if they are on disk. The result is a small
    AnnData, clusters x genes, for programs that annotate clusters: SingleR, CellTypist and others.
    :func:`bgformer.tl.markers` also takes it, and then does not read the counts again.

    Parameters
    ----------
    adata
        Cells x genes with raw counts, in memory or backed; not changed.
    cluster_name
        Column of ``obs`` with the clusters: of :func:`bgformer.tl.cluster`, of
        :func:`bgformer.tl.recluster`, of :func:`bgformer.tl.subcluster`, or any other. Clusters
        that you renamed have these names.
    layer
        Layer that holds the counts; None for the one that the clustering used, or ``X``.

    Returns
    -------
    For k clusters and g genes, an AnnData with

    ``X``
        log(1 + mean of the counts), with the counts of each cell scaled to a total of 10,000
        first; k x g. ``expm1`` of a row sums to 10,000.
    ``layers["mean"]``, ``layers["variance"]``
        Mean and variance over the cells of log(1 + scaled counts). The variance of a cluster of
        one cell is nan.
    ``layers["detected"]``
        Share of the cells with a count, 0 to 1.
    ``obs["n_cells"]``
        Number of cells of each cluster.
    ``obs["n_held_out"]``, ``layers["held_out_p"]``
        Only if there are results of bgformer whose anchors tell the clusters: the number of cells
        that the first half of their counts puts into each cluster, and the p-values of the test of
        the second half; see :func:`bgformer.tl.markers`.

    Raises
    ------
    CountsError, ValueError
        If there is no such column, it holds floating-point numbers, a cell has no cluster, or the
        counts cannot be used.
    TypeError
        If `adata` is not an AnnData.

    Examples
    --------
    >>> table = bgf.tl.profiles(adata)
    >>> table.to_df()["MS4A1"]
    """
    if not isinstance(adata, ad.AnnData):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData.")
    return read_profiles(adata, cluster_name, text_or_none("layer", layer))


def read_profiles(cells: AnnData | StoredCells, cluster_name: str, layer: str | None) -> AnnData:
    """Return the profiles of clusters in a column of an AnnData or of an open file."""
    clusters = clusters_in(cells, cluster_name)
    layer = _layer_of_clusters(cells, cluster_name) if layer is None else layer
    behind, ours = model_behind(cells, cluster_name), confidence_name(cluster_name) in cells.obs
    return profiles_of(cells, clusters, layer, behind, ours=ours)


def profiles_of(
    cells: Cells | StoredCells,
    clusters: pd.Categorical,
    layer: str | None,
    behind: tuple[Fitted, sparse.csr_matrix] | None,
    *,
    ours: bool,
) -> AnnData:
    """Return the profiles of clusters of which each has cells, and each cell has one.

    Parameters
    ----------
    cells
        The cells.
    clusters
        Their clusters.
    layer
        Layer that holds the counts; None for ``X``.
    behind
        A model with these cells, and their weights on its anchors; None if there is none.
    ours
        Whether the clusters are from bgformer. Of others, the anchors must be able to tell them.
    """
    codes, names = np.asarray(clusters.codes, dtype=np.int64), list(clusters.categories)
    note = {"cells": fingerprint(clusters, cells.var_names)}
    note |= {} if layer is None else {"layer": layer}
    source = source_of(cells, layer, min_cells=1)
    dealer = None if behind is None else dealer_for(*behind, cells.var_names)
    if dealer is not None and not ours and not dealer.tells(codes, len(names)):
        dealer = None
    (found,) = sums_of(source, [clusters_of(codes, len(names), dealer)], dealer)
    return as_profiles(*found, names, cells.var_names, note)


def as_profiles(
    sums: Sums, held_out: HeldOut | None, names: list[str], genes: pd.Index, note: dict[str, str]
) -> AnnData:
    """Return the profiles of clusters; see `profiles`, and `ENTRY` for `note`."""
    found = sums.moments
    of_cells = {"n_cells": found.n_cells}
    layers = {name: getattr(found, name) for name in ("mean", "variance", "detected")}
    if held_out is not None:
        of_cells["n_held_out"] = held_out.n_cells.astype(np.int64)
        layers[HELD_OUT_P] = held_out_p(held_out)
    return ad.AnnData(
        np.log1p(found.scaled),
        obs=pd.DataFrame(of_cells, index=pd.Index(names, dtype=object)),
        var=pd.DataFrame(index=pd.Index(genes)),
        layers=layers,
        uns={ENTRY: note},
    )


def clusters_in(cells: Cells | StoredCells, name: str) -> pd.Categorical:
    """Return the clusters of all cells by a column of ``obs``, without those that have no cells.

    Raises
    ------
    InputError
        If there is no such column, it holds floating-point numbers, or a cell has no cluster.
    """
    if not isinstance(name, str):
        raise wrong("cluster_name", name, "the name of a column with clusters")
    if name not in cells.obs:
        raise InputError(
            "no-such-clusters",
            "{name[cluster_name]} '{given}' is not a column of {name[adata.obs]}; cluster the "
            "cells first, or give the name of a column with clusters.",
            given=name,
        )
    if pd.api.types.is_float_dtype(cells.obs[name].dtype):
        raise InputError(
            "numbers-for-clusters",
            "column '{given}' of {name[adata.obs]} holds numbers, not clusters; give another "
            "column, or make it categorical if its numbers are names of clusters.",
            given=name,
        )
    clusters = pd.Categorical(cells.obs[name]).remove_unused_categories()
    if (clusters.codes < 0).any():
        raise InputError(
            "missing-clusters",
            "{n_missing} of {n_cells} cells have no cluster in column '{given}' of "
            "{name[adata.obs]}; give them one, or leave them out.",
            n_missing=int((clusters.codes < 0).sum()),
            n_cells=len(clusters),
            given=name,
        )
    if len(clusters.categories) > _MOST_CLUSTERS:
        raise InputError(
            "too-many-clusters",
            "column '{given}' of {name[adata.obs]} has {n_values} different values; give a column "
            "with clusters, at most {most}.",
            given=name,
            n_values=len(clusters.categories),
            most=_MOST_CLUSTERS,
        )
    names = [str(category) for category in clusters.categories]
    return pd.Categorical.from_codes(clusters.codes, names)


def fingerprint(clusters: pd.Categorical, genes: pd.Index) -> str:
    """Return what is the same only for the same clusters of the same cells, and the same genes."""
    digest = hashlib.blake2b(np.asarray(clusters.codes, dtype="<i8").tobytes(), digest_size=16)
    for name in (*clusters.categories, *map(str, genes)):
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()


def _layer_of_clusters(cells: AnnData | StoredCells, name: str) -> str | None:
    """Return the layer that the clusters of this name were made from; None for ``X``."""
    stored = entry(cells, name)
    if isinstance(stored, Mapping) and "splits" in stored:
        stored = entry(cells, str(stored.get("key")))
    params = stored.get("params") if isinstance(stored, Mapping) else None
    layer = params.get("layer") if isinstance(params, Mapping) else None
    return layer if isinstance(layer, str) else None
