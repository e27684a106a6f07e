"""Counts, size factors and log-normalised values of cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from bgformer.runtime import block_sizes


@dataclass(frozen=True)
class CountData:
    """Counts of the model's genes, ready for minibatches.

    Attributes
    ----------
    counts
        Raw counts, n cells x g genes, CSR float32.
    size_factors
        Total counts of each cell in these genes, divided by the median of the training cells,
        shape (n,).
    batch
        Batch code of each cell, from 0, shape (n,).
    median_counts
        The median to which size factors are relative.
    """

    counts: sparse.csr_matrix
    size_factors: np.ndarray
    batch: np.ndarray
    median_counts: float

    def rows(self, index: np.ndarray | slice) -> CountData:
        """Return a subset of the cells; size factors stay the same."""
        return replace(
            self,
            counts=(
                row_block(self.counts, *index.indices(self.n_cells)[:2])
                if isinstance(index, slice)
                else self.counts[index]
            ),
            size_factors=self.size_factors[index],
            batch=self.batch[index],
        )

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.counts.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self.counts.shape[1]


def row_block(matrix: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix:
    """Return the rows from `start` up to `stop` as a view that shares memory."""
    stop = min(stop, matrix.shape[0])
    first, last = matrix.indptr[start], matrix.indptr[stop]
    parts = (
        matrix.data[first:last],
        matrix.indices[first:last],
        matrix.indptr[start : stop + 1] - first,
    )
    return sparse.csr_matrix(parts, shape=(stop - start, matrix.shape[1]))


def with_size_factors(
    counts: sparse.csr_matrix, batch: np.ndarray, median_counts: float | None = None
) -> CountData:
    """Attach size factors: total counts of each cell over the median of cells with counts.

    Parameters
    ----------
    counts
        Raw counts, n cells x g genes.
    batch
        Batch codes, shape (n,).
    median_counts
        Median of the training cells, for new cells; None to use the median of these cells.
    """
    totals = cell_totals(counts)
    if median_counts is None:
        median_counts = median_of(totals)
    return CountData(counts, size_factors(totals, median_counts), batch, median_counts)


def cell_totals(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the total counts of each cell, shape (n,), summed in double precision."""
    return counts @ np.ones(counts.shape[1])


def rows_of_values(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the row of every stored value, in the order of the values."""
    return np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))


def median_of(totals: np.ndarray) -> float:
    """Return the median total of the cells with counts."""
    return float(np.median(totals[totals > 0]))


def size_factors(totals: np.ndarray, median_counts: float) -> np.ndarray:
    """Return the size factors of cells with these totals, shape (n,) float32."""
    return (np.maximum(totals, 1) / median_counts).astype(np.float32)


def log_normalised(data: CountData, total: float | None = None) -> sparse.csr_matrix:
    """Return log(1 + counts / size factor), n cells x g genes, CSR.

    With `total`, cells are scaled to this total instead of the median.
    """
    counts = data.counts
    values = np.repeat(data.size_factors, np.diff(counts.indptr))
    np.divide(counts.data, values, out=values)
    if total is not None:
        values *= np.float32(total / data.median_counts)
    np.log1p(values, out=values)
    return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def log_moments(data: CountData, total: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each gene's log-normalised counts, both (g,).

    The standard deviation is at least 0.001. `total` is as in `log_normalised`.
    """
    mean, square = np.zeros(data.n_genes), np.zeros(data.n_genes)
    for start in range(0, data.n_cells, block_sizes.COUNTS):
        block = log_normalised(data.rows(slice(start, start + block_sizes.COUNTS)), total)
        values = block.data.astype(np.float64)
        mean += np.bincount(block.indices, values, data.n_genes) / data.n_cells
        square += np.bincount(block.indices, values**2, data.n_genes) / data.n_cells
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, np.maximum(deviation, 1e-3)
