"""Clusters at a resolution, of a number, or by default: communities of the anchor graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bgformer.arguments import not_both
from bgformer.graph.anchor_graph import DEFAULT_RESOLUTION, MIN_CELLS, AnchorGraph
from bgformer.graph.votes import vote_in_blocks
from bgformer.messages import InputError

if TYPE_CHECKING:
    from scipy import sparse

_DOUBT = (1 / 3, 3**-0.5, 1, 3**0.5, 3)
"""Factors by which the right resolution, or number of clusters, might differ from the one used,
all as likely: what the confidence is averaged over."""


class Partition(NamedTuple):
    """Clusters of cells and of anchors.

    Attributes
    ----------
    labels
        Cluster of each cell, shape (n,), 0 the largest.
    confidence
        How likely the cell is of its cluster's main type, shape (n,), 0..1; see `vote`.
    anchor_clusters
        Cluster of each anchor, shape (m,).
    anchor_support
        How likely each anchor is of its cluster's main type, shape (m,), 0..1: the share of
        resolutions, from a third to three times the one used (or of such numbers of clusters), at
        which it is together with the largest part of its cluster.
    resolution
        The resolution at which the partition was found; nan where the number of clusters was set.
    nearest
        For each cluster the one that it is most linked to, shape (k,).
    links
        Its share of links with that one, shape (k,); see `AnchorGraph.nearest`.
    n_considered
        Clusters before splits without evidence were refused.
    """

    labels: np.ndarray
    confidence: np.ndarray
    anchor_clusters: np.ndarray
    anchor_support: np.ndarray
    resolution: float
    nearest: np.ndarray
    links: np.ndarray
    n_considered: int

    @property
    def n_clusters(self) -> int:
        """Number of clusters, k."""
        return int(self.anchor_clusters.max()) + 1


def partition(
    weights: sparse.csr_matrix,
    resolution: float | None = None,
    n_clusters: int | None = None,
    seed: int = 0,
    *,
    min_cells: int = MIN_CELLS,
    links: sparse.csr_matrix | None = None,
) -> Partition:
    """Cluster the anchors and give each cell the cluster with most of its weight.

    Clusters are communities of the anchor graph, islands apart; see `AnchorGraph.communities`.
    With neither a resolution nor a number given, a split needs evidence; see
    `AnchorGraph.supported`. A given number is reached by merging; see `AnchorGraph.exactly`.

    Parameters
    ----------
    weights
        Weights of cells on anchors, n x m, rows summing to 1; CSR in memory, or anndata's CSR
        data set on disk, of which a block is read at a time.
    resolution
        Resolution of the modularity; None for the default, 0.8, with splits that have no evidence
        refused.
    n_clusters
        Number of clusters wanted; None to let the resolution decide.
    seed
        Seeds Leiden.
    min_cells
        Fewest cells of a cluster; smaller ones join the cluster that they are most linked to.
    links
        What `anchor_links` returns for these weights, if it is at hand.

    Raises
    ------
    InputError
        If more clusters are asked for than there are anchors or cells in use, the resolution is
        not positive, or both are given.
    """
    not_both(resolution, n_clusters)
    if resolution is not None and not resolution > 0:
        raise InputError(
            "wrong-value", "{name[resolution]} is {given}; it must be above 0.", given=resolution
        )
    graph = AnchorGraph(weights, seed, min_cells, links)
    if n_clusters is not None:
        anchor_clusters, resolution = graph.exactly(n_clusters), np.nan
        n_considered = n_clusters
        nearby = [graph.cut(factor * n_clusters) for factor in _DOUBT if n_clusters > 1]
    else:
        refuse = resolution is None
        resolution = DEFAULT_RESOLUTION if refuse else resolution
        nearby = [graph.communities(factor * resolution) for factor in _DOUBT]
        clusters = nearby[_DOUBT.index(1)]
        anchor_clusters = considered = graph.holding_cells(clusters, min_cells)
        if refuse:
            anchor_clusters = graph.holding_cells(graph.supported(considered), min_cells)
        n_considered = int(considered.max()) + 1
    support = graph.support(anchor_clusters, nearby)
    labels, confidence, anchor_clusters = assign(weights, anchor_clusters, support)
    return Partition(
        labels,
        confidence,
        anchor_clusters,
        support,
        float(resolution),
        *graph.nearest(anchor_clusters),
        n_considered,
    )


def assign(
    weights: sparse.csr_matrix, anchor_clusters: np.ndarray, anchor_support: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each cell its cluster from those of its anchors; clusters are numbered by size.

    Returns
    -------
    Cluster and confidence of each cell, (n,), and cluster of each anchor, (m,).
    """
    labels, confidence = vote_in_blocks(weights, anchor_clusters, anchor_support)
    sizes = np.bincount(labels, minlength=anchor_clusters.max() + 1)
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels], confidence, rank[anchor_clusters]
