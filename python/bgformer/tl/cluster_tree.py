"""How clusters split as the resolution grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer.arguments import resolutions_in
from bgformer.graph.levels import levels
from bgformer.graph.tree import RESOLUTIONS, Tree
from bgformer.graph.tree import tree as tree_of
from bgformer.runtime.threads import one_thread
from bgformer.store.looks import unassigned_in
from bgformer.store.reading import results
from bgformer.store.results import held_out_of, weights_name
from bgformer.tl.clustering import links_of_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

    from bgformer.graph.levels import Level


def tree(
    adata: AnnData, resolutions: Sequence[float] = RESOLUTIONS, *, key_added: str = "bgformer"
) -> Tree:
    """Return how clusters split as the resolution grows, and the evidence for each cluster.

    This is a clustering tree (Zappia and Oshlack 2018, doi:10.1093/gigascience/giy083) with
    evidence. :func:`bgformer.pl.tree` draws it. Nothing is retrained.

    Parameters
    ----------
    adata
        Cells with the results of :func:`cluster`; not changed.
    resolutions
        Resolutions to cluster at; by default eleven, from 0.1 to 5.
    key_added
        Name under which :func:`cluster` stored its results.

    Returns
    -------
    Two tables, as a named tuple ``(nodes, edges)``.

    ``nodes`` has a row for each cluster at each resolution, in ascending order:

    "resolution", "n_clusters"
        The resolution and its number of clusters.
    "cluster", "n_cells"
        The cluster and its number of cells. The clusters are those of :func:`recluster` at this
        resolution, by their numbers: "0" is the largest. Unassigned cells do not count.
    "parent"
        The cluster at the next lower resolution that most of its cells come from; missing at the
        lowest resolution.
    "nearest", "links", "gap", "gap_p", "n_markers", "markers"
        The evidence table of :func:`recluster` at this resolution.
    "supported"
        False if there is no evidence for the split from the nearest cluster: they share at least
        0.16 of their links, as two halves of a single type do, and there is no gap between them
        (p ≥ 0.001).

    ``edges`` has a row for each pair of clusters at successive resolutions that share cells:

    "resolution_from", "from"
        The lower resolution and the cluster there.
    "resolution", "to"
        The higher resolution and the cluster there.
    "n_cells", "share"
        Number of cells that are in both clusters, and their share of the cells of "to".

    Raises
    ------
    ValueError
        If `adata` has no results named `key_added`, if all of its cells are unassigned, or if
        `resolutions` is empty or one of them is not above 0.

    Examples
    --------
    >>> nodes, edges = bgf.tl.tree(adata)
    >>> nodes[~nodes["supported"]]
    """
    stored = results(adata, key_added)
    found = levels_of(adata, key_added, stored, resolutions)
    return tree_of(found, held_out_of(adata, key_added, stored), np.asarray(stored["genes"]))


def levels_of(
    adata: AnnData, key: str, stored: Mapping[str, Any], resolutions: Sequence[float]
) -> list[Level]:
    """Return the clusters of stored results at each resolution, in ascending order."""
    wanted = list(dict.fromkeys(resolutions_in(resolutions)))
    with one_thread():
        return levels(
            sparse.csr_matrix(adata.obsm[weights_name(key)]),
            wanted,
            int(stored["seed"]),
            min_cells=int(stored["params"]["min_cells"]),
            links=links_of_all(adata, stored),
            unassigned=unassigned_in(adata.obs, key, stored),
        )
