"""The graph of the anchors, and its communities: clusters at any resolution or number.

Two anchors are linked by the cells that attend to both, B^T B (m x m). The size of this graph does
not depend on the number of cells, so any resolution can be tried at once.
"""

from __future__ import annotations

import itertools
import random
from functools import cached_property
from typing import TYPE_CHECKING

import igraph
import numpy as np
from scipy import sparse

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
from bgformer.network.attention import heaviest
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator


DEFAULT_RESOLUTION = 0.8
MIN_CELLS = 10
"""Fewest cells of a cluster, unless a number of clusters is asked for that needs smaller ones."""
ISLAND = 0.08
"""Two groups of anchors are apart if the links between them are a smaller share than this of the
geometric mean of all links that each has."""
ONE_TYPE = 0.16
"""Two clusters with a larger share of links than this are one, unless a resolution or a number is
given: halves of a single type have .15 and more."""
_PARTS_RESOLUTION = 5.0
"""Resolution of the parts in which islands are sought."""
_NUMBER_RESOLUTION = 3.0
"""Resolution of the parts of clusters where more are asked for than the default has ..."""
_FINER = 1.5
"""... and the factor to the next one while there are too few."""
_FINEST = 1e3
_ITERATIONS = 20
"""Rounds of Leiden's algorithm: it can go round in circles between partitions that are equal."""
_LOOK_AT_ALL = 50_000
"""With no more cells, all are asked which clusters win any; with more, ..."""
_LOOK_AT_EACH = 20
"""... so many of those nearest to each anchor."""


def anchor_links(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return how much cells link anchors, ``B^T B``, CSR m x m; its sum is the number of cells.

    Its diagonal holds what the cells of each anchor have on that one alone.
    """
    blocks = weight_blocks(weights, block_sizes.LINKS)
    return sparse.csr_matrix(sum((block.T @ block).toarray() for block in blocks))


class AnchorGraph:
    """The m x m graph of anchors linked by shared cells, and its communities.

    Parameters
    ----------
    weights
        As in `partition`.
    seed
        Seeds Leiden.
    min_cells, links
        As in `partition`.

    Attributes
    ----------
    mass
        Cells of each anchor, each counting by its weight, shape (m,).
    links
        Links between different anchors, m x m, the diagonal 0.
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
        links = (anchor_links(weights) if links is None else links).toarray()
        self.mass = links.sum(axis=1)  # as the weights of a cell sum to 1
        np.fill_diagonal(links, 0)  # self-loops would favour anchors that stand alone
        self.links = links
        rows, columns = np.nonzero(np.triu(links))
        self.graph = igraph.Graph(n=len(links), edges=np.column_stack([rows, columns]).tolist())
        self.graph.es["weight"] = links[rows, columns].tolist()

    def communities(self, resolution: float) -> np.ndarray:
        """Return the cluster of each anchor at a resolution.

        Leiden's communities by modularity, with two changes. Modularity merges two small groups
        when they have more links than their sizes let expect, however few (Fortunato and
        Barthelemy 2007, doi:10.1073/pnas.0605965104), so the islands of each community are
        separated. And a cluster of fewer than `min_cells` cells joins its neighbour.
        """
        apart = self._islands(self.leiden(resolution))
        return self._without_small(apart, self.min_cells)

    def supported(self, clusters: np.ndarray) -> np.ndarray:
        """Merge clusters whose split has no evidence.

        Where no group of anchors is an island, there is one population, and one cluster. Elsewhere
        two clusters are merged while their links are as many as those between two halves of a
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
        """Return for each cluster the one that it is most linked to, and their share of links.

        The share is that of `ISLAND`: 0 if no cell lies between them, about 0.2 to 0.4 if a single
        type was cut in two. Of a single cluster, the nearest is itself and the share nan.
        """
        value = link_values(links_between(self.links, clusters), 0.5)
        if len(value) == 1:
            return np.zeros(1, dtype=int), np.full(1, np.nan)
        np.fill_diagonal(value, -1)
        return value.argmax(axis=1), value.max(axis=1)

    def leiden(self, resolution: float) -> np.ndarray:
        """Return Leiden's communities of the anchors, shape (m,); each resolution is run once."""
        if resolution not in self._found:
            # Leiden draws from Python's generator; a private one leaves the caller's untouched.
            igraph.set_random_number_generator(random.Random(self.seed))
            try:
                found = self.graph.community_leiden(
                    "modularity", weights="weight", resolution=resolution, n_iterations=_ITERATIONS
                )
            finally:
                igraph.set_random_number_generator(random)
            clusters = np.array(found.membership)
            # an anchor that no cell attends to, as in a subset, would be a cluster of its own
            clusters[self.mass == 0] = clusters[self.mass.argmax()]
            self._found[resolution] = numbered(clusters)
        return self._found[resolution]

    @cached_property
    def _parts(self) -> np.ndarray:
        return self.leiden(_PARTS_RESOLUTION)

    def _islands(self, clusters: np.ndarray) -> np.ndarray:
        """Separate the islands of each community.

        Its parts, those of a finer partition, are merged two by two, those with the largest share
        of links first, down to the share that islands have. Groups that most links lead out of are
        no islands and join the one that they are most linked to.
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
            # the number of any of its parts stands for an island
            first = {number: apart[inside[level == number][0]] for number in np.unique(level)}
            apart[inside] = [first[number] for number in level]
        return numbered(apart)

    def _without_small(
        self, clusters: np.ndarray, least: int, within: np.ndarray | None = None
    ) -> np.ndarray:
        """Let clusters of fewer cells than `least` join the one that they are most linked to.

        With `within`, they join clusters within the same one of these coarser clusters alone.
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
        """Let clusters that win fewer cells than `least` join the one they are most linked to.

        `communities` counts cells by their weights; which cells a cluster wins in the vote is
        known only for all clusters together. Of many cells, some of each anchor are looked at.
        """
        clusters = numbered(clusters)
        while True:
            won = np.bincount(vote(self._voters, clusters)[0], minlength=clusters.max() + 1)
            if won.min() >= least or len(won) == 1:
                return clusters
            clusters = self._joined(clusters, int(won.argmin()))

    @cached_property
    def _voters(self) -> sparse.csr_matrix:
        """Weights of the cells that show which clusters win any: all, or some of each anchor."""
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
        """Merge one cluster with the one that it has most links to for the size of that."""
        between = np.bincount(clusters, self.links[clusters == one].sum(axis=0))
        between = between / np.maximum(np.bincount(clusters, self.mass), 1e-300)
        if within is not None:
            parents = within[first_of(clusters)]
            between[parents != parents[one]] = -np.inf
        between[one] = -np.inf
        return numbered(np.where(clusters == one, between.argmax(), clusters))

    def exactly(self, k: int) -> np.ndarray:
        """Return exactly k clusters of anchors, each holding cells.

        Raises
        ------
        InputError
            If the cells and anchors do not allow so many clusters.
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
            "clusters; for more, cluster again with more anchors.",
            k=k,
            n_cells=n_cells,
            m=m,
            most=most,
        )

    def _merged_to(self, clusters: np.ndarray, k: int, least: int) -> np.ndarray:
        """Merge clusters that hold cells until there are k that do.

        A merged pair can win all cells of a third cluster; such a pair is passed over.
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
        """Return about k clusters of anchors, as many as there can be."""
        wanted = int(np.clip(round(k), 1, len(self.links)))
        return next(self._at_least(wanted))[0]

    def _at_least(self, k: int) -> Iterator[tuple[np.ndarray, int]]:
        """Yield k clusters, and then more and more of them, up to one for each anchor.

        With them comes how many cells each must win: `min_cells`, or ever fewer while there are
        too few clusters of so many.

        Fewer than the default resolution has are mergers of those, two by two, the two first that
        have most links over what modularity expects. More are parts of those, which are merged
        within each of them, first the two with the largest share of links.
        """
        whole = self.communities(DEFAULT_RESOLUTION)
        for level in self._levels(whole, np.zeros_like(whole), 1, k):
            yield level, self.min_cells
        least = self.min_cells
        while least:
            resolution = _NUMBER_RESOLUTION
            while resolution < _FINEST:
                parts = self.leiden(resolution)
                parts = numbered(whole * (parts.max() + 1) + parts)
                parts = self._without_small(parts, least, whole)
                for level in self._levels(parts, whole, 0.5, k):
                    yield level, least
                resolution *= _FINER
            least //= 2
        yield np.arange(len(self.links)), 1

    def _levels(
        self, start: np.ndarray, within: np.ndarray, exponent: float, k: int
    ) -> Iterator[np.ndarray]:
        """Yield the levels on the way from `start` to fewer clusters, from k clusters upwards."""
        n_mergers = start.max() + 1 - k
        if n_mergers < 0:
            return
        merged = mergers(self.links, start, exponent, within)
        levels = [start, *(level for _, level in itertools.islice(merged, n_mergers))]
        yield from reversed(levels)

    def support(self, clusters: np.ndarray, nearby: list[np.ndarray]) -> np.ndarray:
        """Return how likely each anchor is of its cluster's main type; see `Partition`.

        `nearby` are clusters of the anchors at other resolutions; with none there is no doubt.
        """
        if not nearby:
            return np.ones(len(clusters))
        together = np.zeros(len(clusters))
        for parts in nearby:
            shared = np.zeros((clusters.max() + 1, parts.max() + 1))
            np.add.at(shared, (clusters, parts), self.mass)
            together += parts == shared.argmax(axis=1)[clusters]
        return together / len(nearby)
