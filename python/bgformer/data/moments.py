"""Sums over the cells of each group, from one pass over the counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from bgformer.data.counts import cell_totals, log_normalised, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL


class Moments(NamedTuple):
    """What k clusters have in common in each of g genes.

    Attributes
    ----------
    n_cells
        Number of cells of each cluster, shape (k,).
    scaled
        Mean of the counts, with those of each cell scaled to a total of 10,000, k x g.
    mean, variance
        Of log(1 + scaled counts), k x g; the variance of a single cell is nan.
    detected
        Share of the cells with a count, k x g.
    """

    n_cells: np.ndarray
    scaled: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    detected: np.ndarray


class Block(NamedTuple):
    """Counts of some cells, and what `Sums` adds up of them.

    Attributes
    ----------
    counts
        Counts of b cells, CSR b x g.
    scaled, logs
        The stored values with those of each cell scaled to a total of 10,000, and log(1 + them).
    """

    counts: sparse.csr_matrix
    scaled: np.ndarray
    logs: np.ndarray

    @classmethod
    def of(cls, counts: sparse.csr_matrix) -> Block:
        """Return what there is to add up of some counts."""
        data = with_size_factors(counts, np.zeros(counts.shape[0], dtype=np.int64), LOG_TOTAL)
        scaled = counts.data / np.repeat(data.size_factors, np.diff(counts.indptr))
        return cls(counts, scaled, log_normalised(data).data.astype(np.float64))


class Sums(NamedTuple):
    """Sums over the cells of k groups, float64; those of several groups can be added up exactly.

    Attributes
    ----------
    n_cells
        Number of cells of each group, shape (k,).
    scaled
        Counts, with those of each cell scaled to a total of 10,000, k x g.
    logged, squares
        log(1 + scaled counts), and the squares of these, k x g each.
    detected
        Number of cells with a count, k x g.
    """

    n_cells: np.ndarray
    scaled: np.ndarray
    logged: np.ndarray
    squares: np.ndarray
    detected: np.ndarray

    @classmethod
    def none(cls, n_groups: int, n_genes: int) -> Sums:
        """Return the sums over no cells."""
        return cls(np.zeros(n_groups), *(np.zeros((n_groups, n_genes)) for _ in range(4)))

    def add(self, block: Block, groups: np.ndarray) -> None:
        """Add some cells, given the group of each, shape (b,)."""
        at = _places(block.counts, groups)
        np.add.at(self.n_cells, groups, 1)
        _add(self.scaled, at, block.scaled)
        _add(self.logged, at, block.logs)
        _add(self.squares, at, block.logs**2)
        _add(self.detected, at, np.ones(len(at)))

    def merged(self, into: np.ndarray, n_clusters: int) -> Sums:
        """Return the sums over clusters that consist of groups.

        Parameters
        ----------
        into
            Cluster of each group, shape (k,).
        n_clusters
            Number of clusters.
        """
        return Sums(*(_merged(values, into, n_clusters) for values in self))

    @property
    def moments(self) -> Moments:
        """Means and variances over the cells; 0 for a group without cells."""
        n = np.maximum(self.n_cells, 1)[:, None]
        mean = self.logged / n
        with np.errstate(divide="ignore", invalid="ignore"):  # of a single cell
            variance = np.maximum(self.squares - n * mean**2, 0) / (n - 1)
        n_cells = self.n_cells.astype(np.int64)
        return Moments(n_cells, self.scaled / n, mean, variance, self.detected / n)


class HeldOut(NamedTuple):
    """Sums over the held-out counts of the cells of k groups, float64.

    Attributes
    ----------
    n_cells
        Number of cells of each group, shape (k,).
    totals
        Their counts of all genes, shape (k,).
    counts
        Their counts of each gene, k x g.
    spread
        Sum over the cells of the squared count of a gene over the cell's counts of all genes,
        k x g.
    """

    n_cells: np.ndarray
    totals: np.ndarray
    counts: np.ndarray
    spread: np.ndarray

    @classmethod
    def none(cls, n_groups: int, n_genes: int) -> HeldOut:
        """Return the sums over no cells."""
        return cls(
            *(np.zeros(n_groups) for _ in range(2)),
            *(np.zeros((n_groups, n_genes)) for _ in range(2)),
        )

    def add(self, counts: sparse.csr_matrix, groups: np.ndarray) -> None:
        """Add some cells, given their counts, CSR b x g, and the group of each, shape (b,).

        Cells without counts, or of group -1, are left out.
        """
        totals = cell_totals(counts)
        used = (totals > 0) & (groups >= 0)
        np.add.at(self.n_cells, groups[used], 1)
        np.add.at(self.totals, groups[used], totals[used])
        of_values = np.repeat(used, np.diff(counts.indptr))
        values = counts.data[of_values].astype(np.float64)
        at = _places(counts, groups)[of_values]
        _add(self.counts, at, values)
        _add(self.spread, at, values**2 / np.repeat(totals, np.diff(counts.indptr))[of_values])

    def merged(self, into: np.ndarray, n_clusters: int) -> HeldOut:
        """Return the sums over clusters that consist of groups; see `Sums.merged`."""
        return HeldOut(*(_merged(values, into, n_clusters) for values in self))


def _places(counts: sparse.csr_matrix, groups: np.ndarray) -> np.ndarray:
    """Return where the values of a block belong in sums over groups, as `_add` takes it."""
    return groups[rows_of_values(counts)].astype(np.int64) * counts.shape[1] + counts.indices


def _add(sums: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    """Add values to sums in place."""
    if sums.size > len(at):
        np.add.at(sums.reshape(-1), at, values)
    else:  # faster before NumPy 1.25
        sums += np.bincount(at, values, sums.size).reshape(sums.shape)


def _merged(values: np.ndarray, into: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return the sums of the rows of each cluster."""
    parts = np.ones(len(into)), (into, np.arange(len(into)))
    return np.asarray(sparse.csr_matrix(parts, shape=(n_clusters, len(into))) @ values)
