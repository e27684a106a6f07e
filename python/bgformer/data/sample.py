"""Counts of the selected genes: of all cells in blocks, and of those a model is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from bgformer.data.counts import CountData, cell_totals, median_of, size_factors
from bgformer.data.source import own_blocks
from bgformer.runtime import block_sizes, ranks

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
    totals
        Total counts of the cells in these genes, shape (n,) float32.
    median_counts
        Median of the totals; size factors are relative to it.
    """

    def __init__(
        self,
        source: InMemory | OnDisk,
        genes: np.ndarray,
        batch: np.ndarray,
        totals: np.ndarray,
        median_counts: float,
    ) -> None:
        self._source, self._genes, self._batch = source, genes, batch
        self.totals, self.median_counts = totals, median_counts

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[CountData]:
        """Yield the cells from `first` up to `last` (default: all) in blocks, in order."""
        for start, counts in self._source.blocks(first, last):
            rows = np.arange(start, start + counts.shape[0])
            yield self.with_factors(counts[:, self._genes], rows)

    def with_factors(self, counts: sparse.csr_matrix, rows: np.ndarray) -> CountData:
        """Return counts of the selected genes with size factors and batches of these cells."""
        factors = size_factors(self.totals[rows].astype(np.float64), self.median_counts)
        return CountData(counts, factors, self._batch[rows], self.median_counts)


class Sample:
    """Counts of the selected genes: training cells in memory, all cells in blocks.

    The number of cells that training sees does not grow with the data, so only a sample of this
    size is kept in memory. The sample depends only on the seed, so it is the same for counts in
    memory and on disk.

    Parameters
    ----------
    source
        All n cells. They are read in one pass; each rank reads its own part.
    genes
        Indices of the g selected genes.
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
    data
        Counts of the sampled cells.
    totals
        Total counts of all cells in the selected genes, shape (n,).
    """

    def __init__(
        self,
        source: InMemory | OnDisk,
        genes: np.ndarray,
        batch: np.ndarray,
        at_most: int,
        seed: int,
    ) -> None:
        n = source.shape[0]
        self.holds_all = n <= max(at_most, LEAST)
        drawn = np.random.default_rng(seed).permutation(n)[: max(at_most, LEAST)]
        self.rows = np.arange(n) if self.holds_all else np.sort(drawn)
        totals = np.zeros(n)
        taken = [sparse.csr_matrix((0, len(genes)), dtype=np.float32)]
        for start, counts in own_blocks(source):
            stop = start + counts.shape[0]
            cut = counts[:, genes]
            totals[start:stop] = cell_totals(cut)
            first, last = np.searchsorted(self.rows, [start, stop])
            taken.append(cut[self.rows[first:last] - start])
        ranks.add_arrays(totals)
        # totals in half the memory of float64
        every = SelectedCounts(source, genes, batch, totals.astype(np.float32), median_of(totals))
        self.totals, self.median_counts = every.totals, every.median_counts
        mine = sparse.vstack(taken, format="csr")
        self.data = every.with_factors(ranks.gathered_rows(mine), self.rows)
        self._every = None if self.holds_all else every

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[CountData]:
        """Yield the cells from `first` up to `last` (default: all) in blocks, in order."""
        if self._every is not None:
            yield from self._every.blocks(first, last)
            return
        stop = len(self.totals) if last is None else last
        for start in range(first, stop, block_sizes.COUNTS):
            yield self.data.rows(slice(start, min(start + block_sizes.COUNTS, stop)))
