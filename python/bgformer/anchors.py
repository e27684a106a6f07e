"""The cell x anchor graph, Leiden over anchors, and the number of clusters.

Each cell has weights on its few nearest anchors, B (n x m). Two anchors are linked by the cells
they share, B^T B (m x m), and clusters are communities of that graph. Its size does not depend on
the number of cells, so any resolution can be tried at once.
"""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import igraph
import numpy as np
from scipy import sparse

from bgformer.arguments import not_both
from bgformer.codebook import kmeans_centres
from bgformer.counts import row_block
from bgformer.training import embed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bgformer.counts import CountData
    from bgformer.network import Network

DEFAULT_RESOLUTION = 0.8
MAX_ANCHORS = 256
"""Anchors chosen by "auto" for all but the smallest data sets."""
CELLS_PER_ANCHOR = 10
"""With fewer cells per anchor than this, "auto" takes fewer anchors."""
_DOUBT = (0.25, 0.5, 1, 2, 4)
"""Factors by which the right resolution, or number of clusters, might differ from the one used,
all as likely: what the confidence is averaged over."""
_FINER = 1.25
"""Factor from one resolution to the next while there are too few clusters ..."""
_FINEST = 1e6
"""... up to one at which every anchor is a cluster."""
NEIGHBOURS = 5
"""Anchors that a cell has weights on."""
BLOCK = 65_536
_LINK_BLOCK = 4 * BLOCK
"""Cells whose weights are in memory at once, and more than a model is trained on: up to there, the
links of the anchors are one product."""
_LOOK_BLOCK = 8192
"""Cells looked at together for one of each cluster; the first so many mostly have one."""
_WEIGHTS_BLOCK = 1024
"""Cells whose distances to all anchors are in memory at once: few, to stay near the processor."""
_ANCHOR_CELLS = 20_000
"""Cells that the anchors of the graph are set from."""


class Placement(NamedTuple):
    """Where the cells stand among the anchors.

    `latent` is n x d float32 and `anchors` m x d float32, both in units of the spread of like
    cells, and `weights` (CSR n x m) the weights of the cells on the anchors.
    """

    latent: np.ndarray
    anchors: np.ndarray
    weights: sparse.csr_matrix


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
        resolutions, from a quarter to four times the one used (or of such numbers of clusters), at
        which it is together with the largest part of its cluster.
    resolution
        The resolution at which the partition was found; nan where the number of clusters was set.
    """

    labels: np.ndarray
    confidence: np.ndarray
    anchor_clusters: np.ndarray
    anchor_support: np.ndarray
    resolution: float


def choose_number(n_cells: int, n_anchors: int | str, n_clusters: int | str) -> int:
    """Return the number of anchors for n cells: the one given, or for "auto" a fitting one.

    Raises
    ------
    ValueError
        If more anchors than cells are asked for.
    """
    if n_anchors != "auto":
        if n_anchors > n_cells:
            raise ValueError(f"n_anchors is {n_anchors}, but there are only {n_cells} cells.")
        return n_anchors
    wanted = max(2, min(MAX_ANCHORS, n_cells // CELLS_PER_ANCHOR))
    if n_clusters != "auto":
        wanted = max(wanted, min(n_cells, 4 * n_clusters))
    return wanted


def centres(network: Network, data: CountData, seed: int) -> np.ndarray:
    """Return the anchors of the graph, m x d float32.

    They are k-means centres of the cells, as many as the network has tokens. The tokens themselves
    in their place find the types less well (docs/benchmarks.md).
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_ANCHOR_CELLS])
    return kmeans_centres(embed(network, data.rows(rows)), network.anchors.shape[0], seed)


def place(network: Network, data: CountData, seed: int) -> Placement:
    """Set the anchors of the graph, and put the cells among them."""
    anchors, latent = centres(network, data, seed), embed(network, data)
    return Placement(latent, anchors, anchor_weights(latent, anchors))


def gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield rows that come in blocks in the larger ones that `anchor_weights` works in."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= BLOCK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def anchor_weights(latent: np.ndarray, anchors: np.ndarray) -> sparse.csr_matrix:
    """Return the weights of cells on their nearest anchors, CSR n x m, rows summing to 1.

    A Gaussian of the distance whose bandwidth is the cell's own mean distance to its nearest
    anchors, so that dense and sparse regions are treated alike.

    Parameters
    ----------
    latent
        Cells, n x d.
    anchors
        m x d.
    """
    k = min(NEIGHBOURS, len(anchors))
    half_square = np.square(anchors, dtype=np.float64).sum(axis=1).astype(np.float32) / 2
    blocks = [
        _weights_block(latent[start : start + _WEIGHTS_BLOCK], anchors, half_square, k)
        for start in range(0, len(latent), _WEIGHTS_BLOCK)
    ]
    nearest, weights = (np.concatenate(part) for part in zip(*blocks, strict=True))
    indptr = np.arange(0, len(latent) * k + 1, k)
    shape = (len(latent), len(anchors))
    return sparse.csr_matrix((weights.ravel(), nearest.ravel(), indptr), shape=shape)


def _weights_block(
    cells: np.ndarray, anchors: np.ndarray, half_square: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest anchors (ascending index) and the weights on them, both rows x k.

    The k minima are taken one after the other: a quarter of the time of a partial sort.
    """
    rows, nearest = np.arange(len(cells)), np.empty((len(cells), k), dtype=np.int32)
    distance = half_square - cells @ anchors.T  # halved and without what is the cell's own
    for rank in range(k):
        nearest[:, rank] = distance.argmin(axis=1)
        distance[rows, nearest[:, rank]] = np.inf
    nearest.sort(axis=1)
    apart = cells[:, None] - anchors[nearest]
    square = np.einsum("ckd,ckd->ck", apart, apart).astype(np.float64)
    bandwidth = np.sqrt(square).mean(axis=1, keepdims=True) + 1e-12
    weights = np.exp(-square / (2 * bandwidth**2))
    return nearest, weights / weights.sum(axis=1, keepdims=True)


def weights_from_parts(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n_anchors: int
) -> sparse.csr_matrix:
    """Return stored weights as CSR n x m."""
    return sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_anchors))


def weight_blocks(weights: Any, size: int) -> Iterator[sparse.csr_matrix]:
    """Yield weights, CSR in memory or a CSR data set on disk, `size` rows at a time.

    Of no cells there is one block, which is empty.
    """
    for start in range(0, max(1, weights.shape[0]), size):
        stop = min(start + size, weights.shape[0])
        in_memory = sparse.issparse(weights)
        yield row_block(weights, start, stop) if in_memory else weights[start:stop]


def partition(
    weights: sparse.csr_matrix,
    resolution: float | None = None,
    n_clusters: int | None = None,
    seed: int = 0,
    *,
    one_population: bool = False,
) -> Partition:
    """Cluster the anchors and give each cell the cluster with most of its weight.

    Clusters are Leiden's communities of the anchor graph. By number, they start from those of the
    default resolution, or of the first finer one with enough of them, and the two whose merger
    leaves most modularity are merged until there are as many as wanted.

    Parameters
    ----------
    weights
        Weights of cells on anchors, n x m, rows summing to 1; CSR in memory, or anndata's CSR
        data set on disk, of which a block is read at a time.
    resolution
        Resolution of the modularity; None for the default.
    n_clusters
        Number of clusters wanted; None to let the resolution decide.
    seed
        Seeds Leiden.
    one_population
        Return a single cluster unless a resolution or a number of clusters is given.

    Raises
    ------
    ValueError
        If more clusters are asked for than there are anchors or cells in use, the resolution is
        not positive, or both are given.
    """
    not_both(resolution, n_clusters)
    if resolution is None and n_clusters is None:
        resolution = None if one_population else DEFAULT_RESOLUTION
        n_clusters = 1 if one_population else None
    graph = AnchorGraph(weights, seed)
    if n_clusters is None:
        if not resolution > 0:
            raise ValueError(f"resolution is {resolution}; it must be above 0.")
        nearby = [graph.leiden(factor * resolution) for factor in _DOUBT]
        anchor_clusters = nearby[_DOUBT.index(1)]
    else:
        anchor_clusters, resolution = graph.exactly(n_clusters), np.nan
        nearby = [graph.cut(factor * n_clusters) for factor in _DOUBT if n_clusters > 1]
    support = graph.support(anchor_clusters, nearby)
    return assign(weights, anchor_clusters, support, resolution)


def assign(
    weights: sparse.csr_matrix,
    anchor_clusters: np.ndarray,
    anchor_support: np.ndarray,
    resolution: float,
) -> Partition:
    """Give each cell its cluster from those of its anchors; clusters are numbered by size."""
    labels, confidence = vote_in_blocks(weights, anchor_clusters, anchor_support)
    sizes = np.bincount(labels, minlength=anchor_clusters.max() + 1)
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return Partition(
        rank[labels], confidence, rank[anchor_clusters], anchor_support, float(resolution)
    )


def vote(
    weights: sparse.csr_matrix,
    anchor_clusters: np.ndarray,
    anchor_support: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each cell's heaviest cluster and the confidence in it, both (n,).

    The confidence is the cell's weight on the anchors of that cluster, each times its support,
    ``sum_j w_ij s_j [j in the cluster]``; without `anchor_support`, the share of its weight.
    """
    n, k = weights.shape[0], int(anchor_clusters.max()) + 1
    cell = np.repeat(np.arange(n), np.diff(weights.indptr))
    cluster = anchor_clusters[weights.indices]
    # counted and not multiplied: a product of sparse matrices takes ten times as long
    share = np.bincount(cell * k + cluster, weights.data, minlength=n * k).reshape(n, k)
    labels = share.argmax(axis=1).astype(np.int32)  # of many cells: half the memory
    if anchor_support is None:
        return labels, _within_0_and_1(share[np.arange(n), labels])
    supported = weights.data * anchor_support[weights.indices] * (cluster == labels[cell])
    return labels, _within_0_and_1(np.bincount(cell, supported, minlength=n))


def _within_0_and_1(confidence: np.ndarray) -> np.ndarray:
    """Take off what rounding adds."""
    return np.clip(confidence, 0, 1).astype(np.float32)


def vote_in_blocks(
    weights: Any, anchor_clusters: np.ndarray, anchor_support: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `vote` does, for weights in memory or on disk (see `partition`)."""
    votes = [
        vote(block, anchor_clusters, anchor_support) for block in weight_blocks(weights, BLOCK)
    ]
    labels, confidence = zip(*votes, strict=True)
    return np.concatenate(labels), np.concatenate(confidence)


def _links(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return how much cells link anchors, ``B^T B``, m x m."""
    m, of_cells = weights.shape[1], np.diff(weights.indptr)
    k = of_cells[0]
    if not (of_cells == k).all():
        return (weights.T @ weights).tocsr()
    # As many anchors for each cell: counted, in an eighth of the time of a product.
    anchors = weights.indices.reshape(-1, k).astype(np.int64)
    data, upper = weights.data.reshape(-1, k), np.zeros(m * m)
    for i, j in zip(*np.triu_indices(k), strict=True):
        pair, together = anchors[:, i] * m + anchors[:, j], data[:, i] * data[:, j]
        upper += np.bincount(pair, together, minlength=m * m)
    upper = upper.reshape(m, m)
    return sparse.csr_matrix(upper + upper.T - np.diag(upper.diagonal()))


class AnchorGraph:
    """The m x m graph of anchors linked by shared cells, and its communities."""

    def __init__(self, weights: sparse.csr_matrix, seed: int) -> None:
        self.weights, self.seed = weights, seed
        self.links = sum(_links(block) for block in weight_blocks(weights, _LINK_BLOCK))
        upper = sparse.triu(self.links, k=1).tocoo()  # no self-loops: they would favour singletons
        self.graph = igraph.Graph(
            n=weights.shape[1], edges=np.column_stack([upper.row, upper.col]).tolist()
        )
        self.graph.es["weight"] = upper.data.tolist()

    def leiden(self, resolution: float) -> np.ndarray:
        """Return the cluster of each anchor at a resolution; every cluster holds cells."""
        # Leiden draws from Python's generator; a private one leaves the caller's untouched.
        igraph.set_random_number_generator(random.Random(self.seed))
        try:
            found = self.graph.community_leiden(
                "modularity", weights="weight", resolution=resolution, n_iterations=-1
            )
        finally:
            igraph.set_random_number_generator(random)
        return self._without_empty(np.array(found.membership))

    def exactly(self, k: int) -> np.ndarray:
        """Return exactly k clusters of anchors, each holding cells."""
        n_cells, m = self.weights.shape
        most = int((self._cells_of_anchors > 0).sum())
        if not 1 <= k <= most:
            raise ValueError(
                f"n_clusters is {k}, but the {n_cells} cells and {m} anchors allow 1 to {most} "
                f"clusters; for more, cluster anew with more anchors."
            )
        clusters = self.cut(k)
        if clusters.max() + 1 < k:
            raise ValueError(
                f"n_clusters is {k}, but the anchors can be parted into {clusters.max() + 1} or "
                f"fewer; ask for fewer clusters, or cluster with more anchors."
            )
        return clusters

    def cut(self, k: float) -> np.ndarray:
        """Return about k clusters of anchors, as many as there can be; each holds cells."""
        wanted = int(np.clip(round(k), 1, self.weights.shape[1]))
        resolution = DEFAULT_RESOLUTION
        clusters = self.leiden(resolution)
        while clusters.max() + 1 < wanted and resolution < _FINEST:
            resolution *= _FINER
            clusters = self.leiden(resolution)
        while clusters.max() + 1 > wanted:
            clusters = self._merge_closest(clusters)
        return clusters

    @cached_property
    def _cells_of_anchors(self) -> np.ndarray:
        heaviest = vote_in_blocks(self.weights, np.arange(self.weights.shape[1]))[0]
        return np.bincount(heaviest, minlength=self.weights.shape[1])

    def support(self, clusters: np.ndarray, nearby: list[np.ndarray]) -> np.ndarray:
        """Return how likely each anchor is of its cluster's main type; see `Partition`.

        `nearby` are clusters of the anchors at other resolutions; with none there is no doubt.
        """
        if not nearby:
            return np.ones(len(clusters))
        mass = self._mass(clusters)
        together = np.zeros(len(clusters))
        for parts in nearby:
            main = [np.bincount(parts, on_anchors).argmax() for on_anchors in mass]
            together += parts == np.array(main)[clusters]
        return together / len(nearby)

    def _mass(self, clusters: np.ndarray) -> np.ndarray:
        """Return the weight of each cluster's cells on each anchor, clusters x m."""
        m = len(clusters)
        mass = np.zeros((clusters.max() + 1) * m)
        for weights in weight_blocks(self.weights, BLOCK):
            of_values = np.repeat(vote(weights, clusters)[0], np.diff(weights.indptr))
            mass += np.bincount(of_values * m + weights.indices, weights.data, len(mass))
        return mass.reshape(-1, m)

    def _between(self, clusters: np.ndarray) -> np.ndarray:
        """Return the link weight between clusters over what their sizes would let expect."""
        member = sparse.csr_matrix((np.ones(len(clusters)), (np.arange(len(clusters)), clusters)))
        between = (member.T @ self.links @ member).toarray()
        mass = between.sum(axis=1)
        between /= np.maximum(np.outer(mass, mass), 1e-300)  # some may have no cell at all
        np.fill_diagonal(between, -np.inf)
        return between

    def _merge_closest(self, clusters: np.ndarray) -> np.ndarray:
        """Merge the two clusters whose merger leaves most modularity.

        The merged pair can win all cells of a third cluster; such a pair is passed over, so that
        there is one cluster fewer and not two.
        """
        member = sparse.csr_matrix((np.ones(len(clusters)), (np.arange(len(clusters)), clusters)))
        apart = self.links - sparse.diags(self.links.diagonal())  # no self-loops, as in the graph
        between = (member.T @ apart @ member).toarray()
        degree = between.sum(axis=1)
        gain = between * degree.sum() - np.outer(degree, degree)
        rows, columns = np.triu_indices(clusters.max() + 1, k=1)
        order = np.argsort(-gain[rows, columns], kind="stable")
        for a, b in zip(rows[order], columns[order], strict=True):
            merged = self._without_empty(np.where(clusters == b, a, clusters))
            if merged.max() == clusters.max() - 1:
                break
        return merged

    def _without_empty(self, clusters: np.ndarray) -> np.ndarray:
        """Give the anchors of clusters that win no cell to the cluster they are most linked to."""
        clusters = np.unique(clusters, return_inverse=True)[1]
        while True:
            holds_cells = np.zeros(clusters.max() + 1, dtype=bool)
            for weights in weight_blocks(self.weights, _LOOK_BLOCK):
                holds_cells[vote(weights, clusters)[0]] = True
                if holds_cells.all():
                    return clusters
            empty = int(holds_cells.argmin())
            merged = np.where(clusters == empty, self._between(clusters)[empty].argmax(), clusters)
            clusters = np.unique(merged, return_inverse=True)[1]
