"""Genes: select them for a model, and find them in new cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.data.counts import row_block, rows_of_values
from bgformer.data.matrices import CountsError
from bgformer.data.scaling import THETA
from bgformer.messages import InputError
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_CELLS_PER_GENE = 3
"""Minimum number of cells in which a gene must be detected to be used."""
_LEAST_GENES = 2
"""Fewest genes that can be divided into two halves."""
_MIN_SHARED = 0.5
"""Minimum share of the model's genes that new cells must have."""


def select_genes(
    counts: sparse.csr_matrix, n_top_genes: int, batch: np.ndarray | None = None
) -> np.ndarray:
    """Select highly variable genes by the variance of their Pearson residuals.

    See `residual_variance` for the formula. With batches, genes are ranked within each batch and
    selected by their median rank.

    Parameters
    ----------
    counts
        Raw counts, n cells x g genes.
    n_top_genes
        Number of genes to select; if fewer are usable, all of these are selected.
    batch
        Batch codes from 0, shape (n,); None for a single batch.

    Returns
    -------
    Indices of the selected genes, ascending.

    Raises
    ------
    CountsError
        If no gene is detected in at least three cells.
    """
    codes = np.zeros(counts.shape[0], dtype=np.int64) if batch is None else batch
    detected_in = sum(
        np.bincount(block.indices, minlength=counts.shape[1]) for _, block in _blocks(counts)
    )
    usable = np.flatnonzero(detected_in >= MIN_CELLS_PER_GENE)
    if usable.size == 0:
        raise CountsError(
            "no-gene-left",
            "no gene is left after selection: none is detected in {least} or more cells; check "
            "that the matrix is cells x genes.",
            least=MIN_CELLS_PER_GENE,
        )
    if min(usable.size, n_top_genes) < _LEAST_GENES:
        raise CountsError(
            "too-few-genes",
            "{n} of the genes can be used, which is too few to cluster; at least {least} are "
            "needed.",
            n=min(usable.size, n_top_genes),
            least=_LEAST_GENES,
        )
    if usable.size <= n_top_genes:
        return usable
    used = np.zeros(counts.shape[1])
    used[usable] = 1
    orders = [
        np.argsort(np.argsort(-scores[usable], kind="stable"), kind="stable")
        for scores in _residual_variances(counts, codes, used)
    ]
    best = np.argsort(np.median(orders, axis=0), kind="stable")[:n_top_genes]
    return np.sort(usable[best])


def residual_variance(counts: sparse.csr_matrix) -> np.ndarray:
    r"""Return the variance of each gene's Pearson residuals, shape (g,).

    With mu the gene's share of all counts times the cell's total, a count x has the residual
    ``(x - mu) / sqrt(mu + mu^2 / theta)``, theta = 100, clipped to ±sqrt(n) (Lause et al. 2021,
    doi:10.1186/s13059-021-02451-7, eq. 3). Its variance is about 1 for a gene with counting noise
    only.

    No dense n x g matrix is needed: cells without the gene are grouped into a few hundred levels
    of total counts. Levels are 1/32 of a doubling wide, which changes each variance by less than
    1 %.
    """
    one = np.zeros(counts.shape[0], dtype=np.int64)
    return _residual_variances(counts, one, np.ones(counts.shape[1]))[0]


def _blocks(counts: sparse.csr_matrix) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
    """Yield the numbers of the cells in each block, and their counts."""
    for start in range(0, counts.shape[0], block_sizes.COUNTS):
        block = row_block(counts, start, start + block_sizes.COUNTS)
        yield np.arange(start, start + block.shape[0]), block


def _by_batch(
    codes: np.ndarray, counts: sparse.csr_matrix, *arrays: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the code of each batch, and the genes and given arrays for the values of its cells."""
    here = np.unique(codes)
    if len(here) == 1:
        yield here[0], counts.indices, *arrays
        return
    of_values = codes[rows_of_values(counts)]
    for code in here:
        inside = of_values == code
        yield code, counts.indices[inside], *(array[inside] for array in arrays)


def _residual_variances(
    counts: sparse.csr_matrix, codes: np.ndarray, used: np.ndarray
) -> list[np.ndarray]:
    """Return `residual_variance` within each batch that has cells, each of shape (g,).

    `used` is 1 for genes that count in the totals and 0 for the others, shape (g,).
    """
    of_cells = np.maximum(counts @ used, 1)
    n_cells = np.bincount(codes)
    of_genes = np.zeros((len(n_cells), counts.shape[1]))
    for cells, block in _blocks(counts):
        for code, genes, values in _by_batch(codes[cells], block, block.data):
            of_genes[code] += np.bincount(genes, values, minlength=counts.shape[1])
    all_counts = np.bincount(codes, of_cells)
    share = of_genes * used / np.maximum(all_counts, 1)[:, None]
    # first treat every count as 0 ...
    first, second = np.zeros_like(share), np.zeros_like(share)
    for code in np.flatnonzero(n_cells):
        for n_level, total in zip(*_levels(of_cells[codes == code]), strict=True):
            _, absent = _residuals(0, total * share[code], n_cells[code])
            first[code] += n_level * absent
            second[code] += n_level * absent**2
    # ... then correct for the non-zero counts
    for cells, block in _blocks(counts):
        total = np.repeat(of_cells[cells], np.diff(block.indptr))
        for code, genes, values, size in _by_batch(codes[cells], block, block.data, total):
            mu = size * share[code, genes]
            present, absent = _residuals(values, mu, n_cells[code])
            first[code] += np.bincount(genes, present - absent, minlength=share.shape[1])
            second[code] += np.bincount(genes, present**2 - absent**2, minlength=share.shape[1])
    return [
        second[code] / n_cells[code] - (first[code] / n_cells[code]) ** 2
        for code in np.flatnonzero(n_cells)
    ]


def _levels(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of cells and their mean total, for each level of totals with cells."""
    level = np.rint(32 * np.log2(totals)).astype(int)
    level -= level.min()
    n_level = np.bincount(level)
    total_level = np.bincount(level, totals) / np.maximum(n_level, 1)
    return n_level[n_level > 0], total_level[n_level > 0]


def _residuals(
    count: np.ndarray | int, mu: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return clipped Pearson residuals of counts with means mu, and of zeros with these means."""
    deviation = np.sqrt(np.maximum(mu + mu**2 / THETA, 1e-300))
    most = np.sqrt(n_cells)
    absent = np.maximum(-mu / deviation, -most)
    return np.clip((count - mu) / deviation, -most, most), absent


def match_genes(names: pd.Index, wanted: np.ndarray) -> np.ndarray:
    """Find a model's genes among those of new cells, as columns for `cut_genes`.

    A missing name can match one that differs only in "_" and "-", because Seurat replaces
    underscores in gene names.

    Parameters
    ----------
    names
        Gene names of the new cells.
    wanted
        Gene names of the model, shape (g,).

    Returns
    -------
    Columns, shape (g,), negative where a gene is missing. Missing genes cause a warning.

    Raises
    ------
    InputError
        If more than half of the genes are missing.
    """
    at = names.get_indexer(wanted)
    missing = at < 0
    if missing.any():
        plain = names.astype(str).str.replace("_", "-")  # names as in Seurat
        if plain.is_unique:
            renamed = pd.Index([name.replace("_", "-") for name in wanted[missing]])
            found = plain.get_indexer(renamed)
            # a column may match only one gene, and none if it already matched by its own name
            found[np.isin(found, at[at >= 0]) | renamed.duplicated(keep=False)] = -1
            at[missing] = found
    measured = at >= 0
    if measured.mean() < _MIN_SHARED:
        raise InputError(
            "too-few-genes",
            "only {n_measured} of the model's {n_genes} genes are among those of the new cells; "
            "at least half are needed: use the gene names of the training cells (e.g. '{first}').",
            n_measured=int(measured.sum()),
            n_genes=len(wanted),
            first=wanted[~measured][0],
        )
    if not measured.all():
        warnings.warn(
            f"{(~measured).sum()} of the model's {len(wanted)} genes are missing in the new cells "
            f"(the first: '{wanted[~measured][0]}') and are treated as not measured.",
            stacklevel=3,
        )
    return at


def cut_genes(counts: sparse.csr_matrix, at: np.ndarray) -> sparse.csr_matrix:
    """Return the columns `at`, in this order; a negative entry gives an empty column."""
    found = np.flatnonzero(at >= 0)
    place = sparse.csr_matrix(
        (np.ones(len(found), dtype=counts.dtype), (at[found], found)),
        shape=(counts.shape[1], len(at)),
    )
    return sparse.csr_matrix(counts @ place)
