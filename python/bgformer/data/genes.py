"""Genes: select them for a model, and find them in new cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.data.counts import cell_totals, rows_of_values
from bgformer.data.matrices import CountsError
from bgformer.data.scaling import THETA
from bgformer.data.source import InMemory, own_blocks
from bgformer.messages import InputError
from bgformer.runtime import ranks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgformer.data.source import OnDisk

MIN_CELLS_PER_GENE = 3
"""Minimum number of cells in which a gene must be detected to be used."""
_LEAST_GENES = 2
"""Fewest genes that can be divided into two halves."""
_MIN_SHARED = 0.5
"""Minimum share of the model's genes that new cells must have."""


def select_genes(
    counts: sparse.csr_matrix | InMemory | OnDisk,
    n_top_genes: int,
    batch: np.ndarray | None = None,
) -> np.ndarray:
    """Select highly variable genes by the variance of their Pearson residuals.

    See `residual_variance` for the formula. With batches, genes are ranked within each batch and
    selected by their median rank. This takes two passes over the cells, in blocks.

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
    source = InMemory(counts) if sparse.issparse(counts) else counts
    codes = np.zeros(source.shape[0], dtype=np.int64) if batch is None else batch
    totals = _Totals(source, codes, MIN_CELLS_PER_GENE)
    usable = np.flatnonzero(totals.usable)
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
    orders = [
        np.argsort(np.argsort(-scores[usable], kind="stable"), kind="stable")
        for scores in _residual_variances(source, codes, totals)
    ]
    best = np.argsort(np.median(orders, axis=0), kind="stable")[:n_top_genes]
    return np.sort(usable[best])


def residual_variance(counts: sparse.csr_matrix | InMemory | OnDisk) -> np.ndarray:
    r"""Return the variance of each gene's Pearson residuals, shape (g,).

    With mu the gene's share of all counts times the cell's total, a count x has the residual
    ``(x - mu) / sqrt(mu + mu^2 / theta)``, theta = 100, clipped to ±sqrt(n) (Lause et al. 2021,
    doi:10.1186/s13059-021-02451-7, eq. 3). Its variance is about 1 for a gene with counting noise
    only.

    No dense n x g matrix is needed: cells without the gene are grouped into a few hundred levels
    of total counts. Levels are 1/32 of a doubling wide, which changes each variance by less than
    1 %.
    """
    source = InMemory(counts) if sparse.issparse(counts) else counts
    codes = np.zeros(source.shape[0], dtype=np.int64)
    return _residual_variances(source, codes, _Totals(source, codes, 0))[0]


class _Totals:
    """Totals from the first pass over the cells; each rank reads its own part.

    Parameters
    ----------
    source
        Raw counts, n cells x g genes.
    codes
        Batch codes from 0, shape (n,).
    min_cells
        Minimum number of cells in which a usable gene is detected.

    Attributes
    ----------
    usable
        True for usable genes, shape (g,).
    of_cells
        Counts of each cell in usable genes, shape (n,).
    of_genes
        Counts of each gene in each batch, batches x g.
    """

    def __init__(self, source: InMemory | OnDisk, codes: np.ndarray, min_cells: int) -> None:
        n, g = source.shape
        seen_in = np.zeros(g, dtype=np.int64)
        self.of_cells = np.zeros(n)
        self.of_genes = np.zeros((codes.max() + 1, g))
        rare = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))]
        for start, counts in own_blocks(source):
            cells = np.arange(start, start + counts.shape[0])
            self.of_cells[cells] = cell_totals(counts)
            seen_in += np.bincount(counts.indices, minlength=g)
            for code, genes, values in _by_batch(codes[cells], counts, counts.data):
                self.of_genes[code] += np.bincount(genes, values, minlength=g)
            # Whether a gene is detected in too few cells is known only at the end. Until then,
            # keep its values, to subtract them from the totals; they are few.
            few = (seen_in < min_cells)[counts.indices]
            rare.append(
                (cells[rows_of_values(counts)[few]], counts.indices[few], counts.data[few])
            )
        ranks.add_arrays(seen_in, self.of_genes)
        self.usable = seen_in >= min_cells
        cells, genes, values = (np.concatenate(part) for part in zip(*rare, strict=True))
        left_out = ~self.usable[genes]
        np.subtract.at(self.of_cells, cells[left_out], values[left_out])
        ranks.add_arrays(self.of_cells)
        self.of_genes[:, ~self.usable] = 0


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
    source: InMemory | OnDisk, codes: np.ndarray, totals: _Totals
) -> list[np.ndarray]:
    """Return `residual_variance` within each batch that has cells, each of shape (g,)."""
    of_cells = np.maximum(totals.of_cells, 1)
    n_cells = np.bincount(codes)
    all_counts = np.bincount(codes, of_cells)
    share = totals.of_genes / np.maximum(all_counts, 1)[:, None]
    # first treat every count as 0 ...
    first, second = np.zeros_like(share), np.zeros_like(share)
    for code in np.flatnonzero(n_cells):
        for cells, total in zip(*_levels(of_cells[codes == code]), strict=True):
            _, absent = _residuals(0, total * share[code], n_cells[code])
            first[code] += cells * absent
            second[code] += cells * absent**2
    if ranks.index() > 0:
        first[:], second[:] = 0, 0  # the first rank adds this part
    # ... then correct for the non-zero counts
    for start, counts in own_blocks(source):
        cells = np.arange(start, start + counts.shape[0])
        total = np.repeat(of_cells[cells], np.diff(counts.indptr))
        for code, genes, values, size in _by_batch(codes[cells], counts, counts.data, total):
            mu = size * share[code, genes]
            present, absent = _residuals(values, mu, n_cells[code])
            first[code] += np.bincount(genes, present - absent, minlength=share.shape[1])
            second[code] += np.bincount(genes, present**2 - absent**2, minlength=share.shape[1])
    ranks.add_arrays(first, second)
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
