"""The anchor graph and its communities: clusters at any resolution, or of any number.

Cells that attend to two anchors link them: B^T B (m x m) for the attention weights B. The size of
the graph does not depend on the number of cells, so trying another resolution is fast.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from bgformer.graph import leiden
from bgformer.graph.defaults import DEFAULT_RESOLUTION, MIN_CELLS
from bgformer.graph.mergers import (
    first_of,
    link_values,
    links_between,
    mergers,
    numbered,
    without_leaving,
)
from bgformer.graph.votes import vote, weight_blocks
from bgformer.messages import InputError
from bgformer.network.anchor_weights import heaviest
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator


ISLAND = 0.08
"""Two groups of anchors are islands, separated from each other, if their share of links is below
this: the links between them over the geometric mean of the total links of each."""
ONE_TYPE = 0.16
"""Two clusters with at least this share of links are merged, unless a resolution or a number is
given. Two halves of a single type have a share of 0.15 or more."""
_PARTS_RESOLUTION = 5.0
"""Resolution of the fine partition from which islands are built."""
_NUMBER_RESOLUTION = 3.0
"""First resolution at which clusters are split if more are requested than the default has, ..."""
_FINER = 1.5
"""... and the factor by which it grows while there are too few."""
_FINEST = 1e3
_LOOK_AT_ALL = 50_000
"""With up to this many cells, all of them vote on which clusters hold cells; with more, ..."""
_LOOK_AT_EACH = 20
"""... at most this many cells of each anchor vote."""


def anchor_links(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the links between anchors, ``B^T B`` for the weights B (n x m), CSR m x m.

    All entries sum to n, because the weights of each cell sum to 1. The diagonal holds the links
    of anchors to themselves.
    """
    blocks = weight_blocks(weights, block_sizes.LINKS)
    return sparse.csr_matrix(sum((block.T @ block).toarray() for block in blocks))


class AnchorGraph:
    """The m x m graph of anchors linked by shared cells, and its communities.

    Parameters
    ----------
    weights, min_cells, links
        As in `graph.communities.partition`.
    seed
        Seed for Leiden.

    Attributes
    ----------
    mass
        Sum of the weights of cells on each anchor, shape (m,).
    links
        Links between different anchors, m x m, with a diagonal of 0.
    """

    def __init__(
        self,
        weights: sparse.csr_matrix,
        seed: int,
        min_cells: int = MIN_CELLS,
        links: sparse.csr_matrix | None = None,
    ) -> None:
        self.weights, self.seed, self.min_cells = weights, seed, min_cells
        self._found: dict[float, np.ndarray] = {}
        self._merged: dict[tuple[int, bytes], np.ndarray] = {}
        links = (anchor_links(weights) if links is None else links).toarray()
        self.mass = links.sum(axis=1)  # because the weights of a cell sum to 1
        np.fill_diagonal(links, 0)  # self-loops would favour single anchors as clusters
        self.links = links
        self._graph = leiden.graph_of(links)

    def communities(self, resolution: float) -> np.ndarray:
        """Return the cluster of each anchor at a resolution, shape (m,).

        These are Leiden communities by modularity, with two changes. First, each community is
        split into its islands, because modularity merges small groups even if they share few links
        (Fortunato and Barthelemy 2007, doi:10.1073/pnas.0605965104). Second, clusters with fewer
        than `min_cells` cells are merged into a neighbour.
        """
        apart = self._islands(self.leiden(resolution))
        return self._without_small(apart, self.min_cells)

    def supported(self, clusters: np.ndarray) -> np.ndarray:
        """Merge clusters whose split has no evidence.

        If no group of anchors is an island, all anchors form one cluster. Otherwise, two clusters
        are merged as long as their share of links reaches `ONE_TYPE`, that of two halves of a
        single type.
        """
        everything = np.zeros(len(clusters), dtype=int)
        if self._without_small(self._islands(everything), self.min_cells).max() == 0:
            return everything
        while clusters.max() > 0:
            nearest, share = self.nearest(clusters)
            most = int(share.argmax())
            if share[most] < ONE_TYPE:
                break
            clusters = numbered(np.where(clusters == nearest[most], most, clusters))
        return clusters

    def nearest(self, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each cluster, the one it is most linked to, and their share of links.

        The share is defined at `ISLAND`. It is 0 if no cell lies between the two, and about 0.2 to
        0.4 if a single type was cut in two. With a single cluster, nearest is 0 and the share nan.
        """
        value = link_values(links_between(self.links, clusters), 0.5)
        if len(value) == 1:
            return np.zeros(1, dtype=int), np.full(1, np.nan)
        np.fill_diagonal(value, -1)
        return value.argmax(axis=1), value.max(axis=1)

    def leiden(self, resolution: float) -> np.ndarray:
        """Return Leiden communities, shape (m,); results are cached."""
        if resolution not in self._found:
            clusters = leiden.communities(self._graph, resolution, self.seed)
            # in a subset of cells, an anchor without cells would form its own cluster
            clusters[self.mass == 0] = clusters[self.mass.argmax()]
            self._found[resolution] = numbered(clusters)
        return self._found[resolution]

    @cached_property
    def _parts(self) -> np.ndarray:
        return self.leiden(_PARTS_RESOLUTION)

    def _islands(self, clusters: np.ndarray) -> np.ndarray:
        """Split each community into its islands.

        A finer partition divides the community into parts. Pairs of parts are merged, largest
        share of links first, until all shares are below `ISLAND`. A group with too many links to
        other groups is not an island, and joins the group it is most linked to.
        """
        apart = clusters * (self._parts.max() + 1) + self._parts
        for community in range(clusters.max() + 1):
            inside = np.flatnonzero(clusters == community)
            level = numbered(apart[inside])
            if level.max() == 0:
                continue
            links = self.links[np.ix_(inside, inside)]
            for value, merged in mergers(links, level, 0.5):
                if value < ISLAND:
                    break
                level = merged
            level = without_leaving(links, level)
            # label an island by the number of one of its parts
            first = {number: apart[inside[level == number][0]] for number in np.unique(level)}
            apart[inside] = [first[number] for number in level]
        return numbered(apart)

    def _without_small(
        self, clusters: np.ndarray, least: int, within: np.ndarray | None = None
    ) -> np.ndarray:
        """Merge clusters with fewer than `least` cells into the one they are most linked to.

        With `within`, merge only inside the same one of these coarser clusters.
        """
        within = np.zeros_like(clusters) if within is None else within
        while True:
            cells = np.bincount(clusters, self.mass)
            parents = within[first_of(clusters)]
            small = np.flatnonzero((cells < least) & (np.bincount(parents)[parents] > 1))
            if len(small) == 0:
                return clusters
            clusters = self._joined(clusters, int(small[cells[small].argmin()]), within)

    def holding_cells(self, clusters: np.ndarray, least: int) -> np.ndarray:
        """Merge clusters that win fewer than `least` cells into the one they are most linked to.

        `communities` counts cells by their weights. Here cells are counted by the vote, which
        assigns each cell to one cluster. With many cells, only some of each anchor vote.
        """
        clusters = numbered(clusters)
        while True:
            won = np.bincount(vote(self._voters, clusters)[0], minlength=clusters.max() + 1)
            if won.min() >= least or len(won) == 1:
                return clusters
            clusters = self._joined(clusters, int(won.argmin()))

    @cached_property
    def _voters(self) -> sparse.csr_matrix:
        """Weights of the cells that vote in `holding_cells`: all, or some of each anchor."""
        if self.weights.shape[0] <= _LOOK_AT_ALL:
            return next(weight_blocks(self.weights, _LOOK_AT_ALL))
        seen = np.zeros(self.weights.shape[1], dtype=int)
        voters = []
        for block in weight_blocks(self.weights, block_sizes.WEIGHTS):
            nearest = heaviest(block)
            order = np.argsort(nearest, kind="stable")
            first = np.searchsorted(nearest[order], nearest[order])
            rank = seen[nearest[order]] + np.arange(len(order)) - first
            seen += np.bincount(nearest, minlength=len(seen))
            voters.append(block[np.sort(order[rank < _LOOK_AT_EACH])])
        return sparse.vstack(voters, format="csr")

    def _joined(
        self, clusters: np.ndarray, one: int, within: np.ndarray | None = None
    ) -> np.ndarray:
        """Merge one cluster into the one with most links to it, relative to that one's size."""
        between = np.bincount(clusters, self.links[clusters == one].sum(axis=0))
        between = between / np.maximum(np.bincount(clusters, self.mass), 1e-300)
        if within is not None:
            parents = within[first_of(clusters)]
            between[parents != parents[one]] = -np.inf
        between[one] = -np.inf
        return numbered(np.where(clusters == one, between.argmax(), clusters))

    def exactly(self, k: int) -> np.ndarray:
        """Return exactly k clusters of anchors, each with cells, shape (m,).

        Raises
        ------
        ValueError
            If the cells and anchors do not allow k clusters.
        """
        n_cells, m = self.weights.shape
        most = min(n_cells, m)
        if 1 <= k <= most:
            for clusters, least in self._at_least(k):
                holding = self.holding_cells(clusters, least)
                most = holding.max() + 1
                if most >= k:
                    return self._merged_to(holding, k, least)
        raise InputError(
            "too-many-clusters",
            "{name[n_clusters]} is {k}, but the {n_cells} cells and {m} anchors allow 1 to {most} "
            "clusters{advice}.",
            advice="; for more, cluster again with more anchors" if m < n_cells else "",
            k=k,
            n_cells=n_cells,
            m=m,
            most=most,
        )

    def _merged_to(self, clusters: np.ndarray, k: int, least: int) -> np.ndarray:
        """Merge clusters until there are k, each with cells.

        A pair is skipped if, once merged, it would win all cells of a third cluster.
        """
        while clusters.max() + 1 > k:
            value = link_values(links_between(self.links, clusters), 1)
            rows, columns = np.triu_indices(len(value), k=1)
            for i in np.argsort(-value[rows, columns], kind="stable"):
                merged = np.where(clusters == columns[i], rows[i], clusters)
                merged = self.holding_cells(merged, least)
                if merged.max() == clusters.max() - 1:
                    break
            clusters = merged
        return clusters

    def cut(self, k: float) -> np.ndarray:
        """Return about k clusters of anchors, limited to 1 to m."""
        wanted = int(np.clip(round(k), 1, len(self.links)))
        return next(self._at_least(wanted))[0]

    def _at_least(self, k: int) -> Iterator[tuple[np.ndarray, int]]:
        """Yield k clusters, then more and more of them, up to one per anchor.

        Each comes with the number of cells that every cluster must win: `min_cells`, halved while
        too few clusters reach it.

        If k is below the number of clusters at the default resolution, pairs of these are merged,
        first the pair with most links relative to the expectation of modularity. If k is above it,
        these clusters are split into parts, and parts of the same cluster are merged again, first
        the pair with the largest share of links.
        """
        whole = self._whole
        for level in self._levels(whole, np.zeros_like(whole), 1, k):
            yield level, self.min_cells
        least = self.min_cells
        while least:
            resolution = _NUMBER_RESOLUTION
            while resolution < _FINEST:
                for level in self._levels(self._split(resolution, least), whole, 0.5, k):
                    yield level, least
                resolution *= _FINER
            least //= 2
        yield np.arange(len(self.links)), 1

    @cached_property
    def _whole(self) -> np.ndarray:
        return self.communities(DEFAULT_RESOLUTION)

    def _split(self, resolution: float, least: int) -> np.ndarray:
        """Return the clusters at the default, split into parts of at least `least` cells."""
        parts = self.leiden(resolution)
        parts = numbered(self._whole * (parts.max() + 1) + parts)
        # with few cells, many resolutions give the same parts, and merging these takes longest
        key = least, parts.tobytes()
        if key not in self._merged:
            self._merged[key] = self._without_small(parts, least, self._whole)
        return self._merged[key]

    def _levels(
        self, start: np.ndarray, within: np.ndarray, exponent: float, k: int
    ) -> Iterator[np.ndarray]:
        """Yield the partitions between k clusters and those of `start`, k clusters first."""
        n_mergers = start.max() + 1 - k
        if n_mergers < 0:
            return
        merged = mergers(self.links, start, exponent, within)
        levels = [start, *(level for _, level in itertools.islice(merged, n_mergers))]
        yield from reversed(levels)

    def support(self, clusters: np.ndarray, nearby: list[np.ndarray]) -> np.ndarray:
        """Return the probability that each anchor belongs to its cluster's dominant type, (m,).

        It is the share of the partitions `nearby` (at other resolutions) in which the anchor is
        with the largest part of its cluster; 1 if there are none.
        """
        if not nearby:
            return np.ones(len(clusters))
        together = np.zeros(len(clusters))
        for parts in nearby:
            shared = np.zeros((clusters.max() + 1, parts.max() + 1))
            np.add.at(shared, (clusters, parts), self.mass)
            together += parts == shared.argmax(axis=1)[clusters]
        return together / len(nearby)
