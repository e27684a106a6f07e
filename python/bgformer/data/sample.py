"""Counts of the selected genes: of all cells in blocks, and of those a model is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.data.counts import CountData, with_size_factors
from bgformer.data.genes import select_genes
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgformer.data.source import InMemory, OnDisk

LEAST = 20_000
"""Minimum size of the sample, however few the training steps; anchors and metric need it."""


class SelectedCounts:
    """Counts of the selected genes of all cells, read in blocks.

    Parameters
    ----------
    source
        All n cells.
    genes
        Indices of the g selected genes.
    batch
        Batch codes, shape (n,).
    median_counts
        Median of the training cells' counts in these genes; size factors are relative to it.
    """

    def __init__(
        self,
        source: InMemory | OnDisk,
        genes: np.ndarray,
        batch: np.ndarray,
        median_counts: float,
    ) -> None:
        self._source, self._genes, self._batch = source, genes, batch
        self.median_counts = median_counts

    @property
    def n_cells(self) -> int:
        """Number of all cells."""
        return len(self._batch)

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[CountData]:
        """Yield the cells from `first` up to `last` (default: all) in blocks, in order."""
        for start, counts in self._source.blocks(first, last):
            batch = self._batch[start : start + counts.shape[0]]
            yield with_size_factors(counts[:, self._genes], batch, self.median_counts)


class Sample:
    """The cells that a model is trained on, the genes it uses, and all cells in blocks.

    The number of cells that training sees does not grow with the data, so only a sample of this
    size is kept in memory. Genes are selected by the sample, and size factors are relative to its
    median counts. The sample depends only on the seed, so it is the same for counts in memory and
    on disk.

    Parameters
    ----------
    source
        All n cells. On disk, they are read in one pass, in which each rank reads its own part.
    n_top_genes
        Number of genes to select.
    batch
        Batch codes, shape (n,).
    at_most
        Number of cells that training can see. If there are no more cells, or no more than 20,000,
        all are used.
    seed
        Seed for the sample.

    Attributes
    ----------
    rows
        Indices of the sampled cells, ascending.
    genes
        Indices of the selected genes, ascending, shape (g,).
    data
        Counts of the sampled cells in these genes.

    Raises
    ------
    CountsError
        If too few genes can be used; see `genes.select_genes`.
    """

    def __init__(
        self,
        source: InMemory | OnDisk,
        n_top_genes: int,
        batch: np.ndarray,
        at_most: int,
        seed: int,
    ) -> None:
        n = source.shape[0]
        self.holds_all = n <= max(at_most, LEAST)
        drawn = np.random.default_rng(seed).permutation(n)[: max(at_most, LEAST)]
        self.rows = np.arange(n) if self.holds_all else np.sort(drawn)
        counts, own = source.some(self.rows), batch[self.rows]
        self.genes = select_genes(counts, n_top_genes, own)
        self.data = with_size_factors(counts[:, self.genes], own)
        self.median_counts = self.data.median_counts
        self._every = SelectedCounts(source, self.genes, batch, self.median_counts)

    @property
    def n_cells(self) -> int:
        """Number of all cells."""
        return self._every.n_cells

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[CountData]:
        """Yield the cells from `first` up to `last` (default: all) in blocks, in order."""
        if not self.holds_all:
            yield from self._every.blocks(first, last)
            return
        stop = self.n_cells if last is None else last
        for start in range(first, stop, block_sizes.COUNTS):
            yield self.data.rows(slice(start, min(start + block_sizes.COUNTS, stop)))
