"""Partitions of the anchor graph: by default, at a resolution, or of a given number."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bgformer.arguments import not_both
from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.graph.defaults import DEFAULT_RESOLUTION, MIN_CELLS
from bgformer.graph.votes import vote_in_blocks
from bgformer.messages import InputError

if TYPE_CHECKING:
    from scipy import sparse

_DOUBT = (1 / 3, 3**-0.5, 1, 3**0.5, 3)
"""Factors on the resolution, or on the number of clusters, over which the confidence is averaged;
all are treated as equally probable."""


class Partition(NamedTuple):
    """Clusters of cells and of anchors.

    Attributes
    ----------
    labels
        Cluster of each cell, shape (n,), 0 the largest.
    confidence
        Probability that each cell belongs to its cluster's dominant type, shape (n,), 0 to 1; see
        `graph.votes.vote`.
    anchor_clusters
        Cluster of each anchor, shape (m,).
    anchor_support
        Probability that each anchor belongs to its cluster's dominant type, shape (m,), 0 to 1. It
        is the share of five resolutions (or numbers of clusters), from 1/3 to 3 times the one
        used, at which the anchor is with the largest part of its cluster.
    resolution
        Resolution of the partition; nan if the number of clusters was given.
    nearest
        For each cluster, the one it is most linked to, shape (k,).
    links
        Share of links between each cluster and its nearest, shape (k,); see `AnchorGraph.nearest`.
    n_considered
        Number of clusters before splits without evidence were undone.
    outlier
        How unlike the cells of the fit new cells are, shape (n,), 0 to 1; see
        `graph.outliers.scores`. None for the cells of the fit.
    unassigned
        True for new cells that are too unlike the cells of the fit to be of their cluster, shape
        (n,); None for the cells of the fit.
    """

    labels: np.ndarray
    confidence: np.ndarray
    anchor_clusters: np.ndarray
    anchor_support: np.ndarray
    resolution: float
    nearest: np.ndarray
    links: np.ndarray
    n_considered: int
    outlier: np.ndarray | None = None
    unassigned: np.ndarray | None = None

    @property
    def n_cells(self) -> np.ndarray:
        """Number of cells assigned to each cluster, shape (k,)."""
        return sizes(self.labels, self.n_clusters, self.unassigned)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, k."""
        return int(self.anchor_clusters.max()) + 1

    @property
    def names(self) -> list[str]:
        """Names of the clusters, "0" the largest."""
        return [str(cluster) for cluster in range(self.n_clusters)]


def partition(
    weights: sparse.csr_matrix,
    resolution: float | None = None,
    n_clusters: int | None = None,
    seed: int = 0,
    *,
    min_cells: int = MIN_CELLS,
    links: sparse.csr_matrix | None = None,
) -> Partition:
    """Cluster the anchors, and assign each cell to the cluster with most of its weight.

    Clusters are communities of the anchor graph, split into islands; see
    `AnchorGraph.communities`. If neither a resolution nor a number is given, splits without
    evidence are undone; see `AnchorGraph.supported`. A given number is reached by merging; see
    `AnchorGraph.exactly`.

    Parameters
    ----------
    weights
        Weights of cells on anchors, n x m, rows summing to 1: CSR in memory, or anndata's CSR data
        set on disk, which is read in blocks.
    resolution
        Resolution of the modularity; None uses 0.8 and undoes splits without evidence.
    n_clusters
        Number of clusters; None to let the resolution decide.
    seed
        Seed for Leiden.
    min_cells
        Minimum number of cells in a cluster; a smaller one joins the one it is most linked to.
    links
        Links between the anchors, from `anchor_links` for these weights; None to compute them.

    Returns
    -------
    The clusters of cells and anchors.

    Raises
    ------
    ValueError
        If the cells and anchors do not allow `n_clusters` clusters, if `resolution` is not above
        0, or if both are given.
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
        resolution = DEFAULT_RESOLUTION if resolution is None else resolution
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


def partition_of_assigned(
    weights: sparse.csr_matrix,
    unassigned: np.ndarray | None,
    *asked: Any,
    links: sparse.csr_matrix | None = None,
    **settings: Any,
) -> Partition:
    """Return a `partition` in which unassigned cells, True in `unassigned`, have no say.

    They have the nearest cluster among the labels, and are unassigned in the result too.
    """
    if unassigned is None or not unassigned.any() or unassigned.all():
        found = partition(weights, *asked, links=links, **settings)
        return found._replace(unassigned=unassigned)
    found = partition(weights[np.flatnonzero(~unassigned)], *asked, **settings)
    labels, confidence = vote_in_blocks(weights, found.anchor_clusters, found.anchor_support)
    return found._replace(labels=labels, confidence=confidence, unassigned=unassigned)


def assign(
    weights: sparse.csr_matrix, anchor_clusters: np.ndarray, anchor_support: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign each cell to a cluster of anchors, and number the clusters by size.

    Returns
    -------
    Cluster and confidence of each cell, both (n,), and cluster of each anchor, (m,).
    """
    labels, confidence = vote_in_blocks(weights, anchor_clusters, anchor_support)
    labels, anchor_clusters = numbered_by_size(labels, anchor_clusters)
    return labels, confidence, anchor_clusters


def numbered_by_size(
    labels: np.ndarray, anchor_clusters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clusters of cells and of anchors with new numbers, 0 the one with most cells."""
    n_cells = np.bincount(labels, minlength=anchor_clusters.max() + 1)
    rank = np.empty(len(n_cells), dtype=np.int32)
    rank[np.argsort(-n_cells, kind="stable")] = np.arange(len(n_cells))
    return rank[labels], rank[anchor_clusters]


def sizes(labels: np.ndarray, n_clusters: int, unassigned: np.ndarray | None) -> np.ndarray:
    """Return the number of cells of each cluster, without those that are unassigned, (k,)."""
    assigned = labels if unassigned is None else labels[~unassigned]
    return np.bincount(assigned, minlength=n_clusters)


def warn_of_one(found: Partition, stacklevel: int = 3) -> None:
    """Warn if all cells are one cluster for lack of evidence, and say what was considered."""
    if found.n_clusters == 1 < found.n_considered:
        warnings.warn(
            f"one cluster, because no group of cells is separated from the others by a gap; "
            f"{found.n_considered} clusters without such evidence were considered: "
            f"resolution={DEFAULT_RESOLUTION} returns them.",
            stacklevel=stacklevel,
        )
