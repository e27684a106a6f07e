"""Clusters at many resolutions, from one anchor graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.graph.communities import numbered_by_size, sizes
from bgformer.graph.defaults import MIN_CELLS
from bgformer.graph.votes import vote_in_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

RESOLUTIONS = (
    0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6,
    0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 5.0,
)  # fmt: skip


class Level(NamedTuple):
    """Clusters at one resolution, as `communities.partition` finds them there.

    Attributes
    ----------
    resolution
        The resolution.
    labels
        Cluster of each cell, shape (n,) int32, 0 the largest.
    anchor_clusters
        Cluster of each anchor, shape (m,) int32.
    nearest, links
        For each cluster, the one it is most linked to, and their share of links, shape (k,); see
        `AnchorGraph.nearest`.
    unassigned
        True for cells of no cluster, shape (n,); None if there are none.
    """

    resolution: float
    labels: np.ndarray
    anchor_clusters: np.ndarray
    nearest: np.ndarray
    links: np.ndarray
    unassigned: np.ndarray | None = None

    @property
    def n_clusters(self) -> int:
        """Number of clusters, k."""
        return int(self.anchor_clusters.max()) + 1

    @property
    def groups(self) -> np.ndarray:
        """Number of each cell's cluster, shape (n,); that after all others if it is of none."""
        if self.unassigned is None:
            return self.labels
        return np.where(self.unassigned, self.n_clusters, self.labels)

    @property
    def n_cells(self) -> np.ndarray:
        """Number of cells assigned to each cluster, shape (k,)."""
        return sizes(self.labels, self.n_clusters, self.unassigned)

    @property
    def names(self) -> list[str]:
        """Names of the clusters, "0" the largest."""
        return [str(cluster) for cluster in range(self.n_clusters)]


def levels(
    weights: sparse.csr_matrix,
    resolutions: Sequence[float] = RESOLUTIONS,
    seed: int = 0,
    *,
    min_cells: int = MIN_CELLS,
    links: sparse.csr_matrix | None = None,
    unassigned: np.ndarray | None = None,
) -> list[Level]:
    """Return the clusters at each resolution: the same as `communities.partition_of_assigned`.

    It takes a fraction of the time, because the confidence, which needs four more partitions for
    each resolution, is left out.

    Parameters
    ----------
    weights, seed, min_cells, links, unassigned
        As in `communities.partition` and `communities.partition_of_assigned`; `weights` in memory.
    resolutions
        Resolutions, above 0.

    Returns
    -------
    A level for each resolution, in the order given.
    """
    voters = weights
    if unassigned is not None and unassigned.any() and not unassigned.all():
        voters, links = weights[np.flatnonzero(~unassigned)], None
    graph = AnchorGraph(voters, seed, min_cells, links)
    found = []
    for resolution in resolutions:
        own = graph.holding_cells(graph.communities(resolution), min_cells)
        labels = vote_in_blocks(voters, own)[0]
        labels, own = numbered_by_size(labels, own)
        if voters is not weights:
            labels = vote_in_blocks(weights, own)[0]
        found.append(Level(float(resolution), labels, own, *graph.nearest(own), unassigned))
    return found
