"""Sums over groups of cells, also of held-out counts, from one pass over the counts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from bgformer.data.genes import match_genes
from bgformer.data.moments import Block, HeldOut, Sums
from bgformer.graph.labels import label_shares, vote_for_labels
from bgformer.graph.thinning import dealt, linear_anchors, placed
from bgformer.messages import InputError
from bgformer.pipeline.prediction import ModelGenes
from bgformer.runtime.threads import ahead, one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bgformer.data.source import InMemory, OnDisk
    from bgformer.pipeline.fitted import Fitted


class Halves(NamedTuple):
    """What the two halves of the counts of b cells are used for.

    Attributes
    ----------
    nearest
        Nearest anchor of the linear head by the first half, shape (b,); -1 for cells whose first
        half has no counts in the genes of the model.
    second
        The second half, of all genes, CSR b x g.
    """

    nearest: np.ndarray
    second: sparse.csr_matrix


class Dealer:
    """Deals the counts of cells into two halves, of which the first places the cells.

    Given a cell's expression, Poisson counts split this way are independent (data thinning;
    Neufeld et al. 2024, JMLR 25(57)). What the second half shows of the groups that the first has
    found is therefore not due to the noise by which they were found.

    Parameters
    ----------
    model
        The model.
    weights
        Weights of the cells on its anchors, CSR n x m.
    genes
        The genes of the model among those of the cells.
    """

    def __init__(self, model: Fitted, weights: sparse.csr_matrix, genes: ModelGenes) -> None:
        self._model, self._genes, anchors = model, genes, linear_anchors(model.anchors)
        own = weights[:, : len(anchors)]
        self._weights = sparse.csr_matrix(own.multiply(1 / own.sum(axis=1)))
        # an anchor without weight, as of a subset of the cells, tells nothing of any group
        self._used = np.flatnonzero(np.asarray(self._weights.sum(axis=0)).ravel())
        self._anchors = np.ascontiguousarray(anchors[self._used])

    def of_anchors(self, groups: np.ndarray, n_groups: int) -> np.ndarray:
        """Return the group with most of the weight on each anchor, given those of cells, (m,)."""
        return label_shares(self._weights, groups, n_groups).argmax(axis=1)

    def tells(self, groups: np.ndarray, n_groups: int) -> bool:
        """Say whether the anchors tell the groups of cells apart, given that of each cell, (n,).

        They do not if the groups are not of the counts, such as donors. The groups that the
        anchors give would then be others, which differ because anchors do. The share of the cells
        with most weight on the anchors of their own group must be half way, or more, from that of
        the largest group to 1.
        """
        votes = vote_for_labels(self._weights, label_shares(self._weights, groups, n_groups))[0]
        largest = np.bincount(groups).max() / len(groups)
        return bool((votes == groups).mean() >= (1 + largest) / 2)

    def halves(self, counts: sparse.csr_matrix) -> Halves:
        """Deal the counts of some cells, CSR b x g of all genes."""
        first, second = dealt(counts, self._model.settings.seed)
        first.eliminate_zeros()
        data = self._genes.of(first)
        nearest = placed(self._model.network, data, self._anchors, self._genes.keep).nearest
        is_blank = np.diff(data.counts.indptr) == 0
        return Halves(np.where(is_blank, -1, self._used[nearest]), second)


def dealer_for(model: Fitted, weights: sparse.csr_matrix, genes: pd.Index) -> Dealer | None:
    """Return a dealer for cells with genes of these names.

    None if fewer than half of the model's genes are among them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of missing genes: these cells are not new
            columns = match_genes(genes, model.genes)
    except InputError:
        return None
    return Dealer(model, weights, ModelGenes(model, columns))


class Grouping(NamedTuple):
    """Groups of cells.

    Attributes
    ----------
    of_cells, n_groups
        Group of each cell, shape (n,), and number of groups.
    of_anchors, n_held_out
        Group of each anchor of the linear head, shape (m,), for the held-out counts, and number of
        these groups, which need not be those of the cells. None without a dealer.
    """

    of_cells: np.ndarray
    n_groups: int
    of_anchors: np.ndarray | None
    n_held_out: int


def clusters_of(codes: np.ndarray, n_clusters: int, dealer: Dealer | None) -> Grouping:
    """Return clusters of cells as groups, given the cluster of each cell, shape (n,)."""
    of_anchors = None if dealer is None else dealer.of_anchors(codes, n_clusters)
    return Grouping(codes, n_clusters, of_anchors, n_clusters)


def sums_of(
    source: InMemory | OnDisk, groupings: Sequence[Grouping], dealer: Dealer | None
) -> list[tuple[Sums, HeldOut | None]]:
    """Return the sums over the groups of each grouping, from one pass over the counts.

    Parameters
    ----------
    source
        Counts of n cells x g genes.
    groupings
        Groups of these cells.
    dealer
        For the held-out counts; None if there are none.

    Raises
    ------
    CountsError
        If the counts are on disk and cannot be used; see `source.OnDisk`.
    """
    n_genes = source.shape[1]
    all_counts = [Sums.none(one.n_groups, n_genes) for one in groupings]
    held_out = [
        None if dealer is None else HeldOut.none(one.n_held_out, n_genes) for one in groupings
    ]

    def work(read: tuple[int, sparse.csr_matrix]) -> tuple[int, Block, Halves | None]:
        start, counts = read
        return start, Block.of(counts), None if dealer is None else dealer.halves(counts)

    with one_thread():
        for start, block, halves in ahead(work, source.blocks()):
            for one, sums, of_half in zip(groupings, all_counts, held_out, strict=True):
                sums.add(block, one.of_cells[start : start + block.counts.shape[0]])
                if halves is not None and of_half is not None and one.of_anchors is not None:
                    groups = np.where(halves.nearest < 0, -1, one.of_anchors[halves.nearest])
                    of_half.add(halves.second, groups)
    return [*zip(all_counts, held_out, strict=True)]
