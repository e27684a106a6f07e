"""Genes: which ones a model uses, and where they are in new cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.data.checks import CountsError
from bgformer.data.counts import cell_totals, rows_of_values
from bgformer.data.scaling import THETA
from bgformer.data.source import InMemory, own_blocks
from bgformer.messages import InputError
from bgformer.runtime import ranks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgformer.data.source import OnDisk

MIN_CELLS_PER_GENE = 3
"""A gene seen in fewer cells carries no information on groups of cells."""
_MIN_SHARED = 0.5
"""Share of the model's genes that new cells must have."""


def select_genes(
    counts: sparse.csr_matrix | InMemory | OnDisk,
    n_top_genes: int,
    batch: np.ndarray | None = None,
) -> np.ndarray:
    """Choose highly variable genes, by the variance of their Pearson residuals.

    See `residual_variance`. With batches, genes are ranked within each and the ranks' medians are
    compared. Two passes over the cells, a block at a time.

    Parameters
    ----------
    counts
        n cells x g genes.
    n_top_genes
        How many to keep; all usable genes are kept if there are no more than this.
    batch
        Batch codes from 0, shape (n,).

    Returns
    -------
    Indices of the chosen genes, ascending.

    Raises
    ------
    CountsError
        If no gene is seen in at least three cells.
    """
    source = InMemory(counts) if sparse.issparse(counts) else counts
    codes = np.zeros(source.shape[0], dtype=np.int64) if batch is None else batch
    totals = _Totals(source, codes, MIN_CELLS_PER_GENE)
    usable = np.flatnonzero(totals.usable)
    if usable.size == 0:
        raise CountsError(
            "no-gene-left",
            "no gene is left after selection: none is seen in {least} cells or more; check that "
            "the matrix is not the wrong way round.",
            least=MIN_CELLS_PER_GENE,
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
    ``(x - mu) / sqrt(mu + mu^2 / theta)``, theta = 100, clipped at sqrt(n) (Lause et al. 2021,
    doi:10.1186/s13059-021-02451-7, eq. 3). It is about 1 for a gene that varies by counting alone.

    The cells in which a gene is zero enter through their totals, a few hundred levels of them, so
    nothing dense of n x g is made; levels 1/32 of a doubling wide change no variance by 1 %.
    """
    source = InMemory(counts) if sparse.issparse(counts) else counts
    codes = np.zeros(source.shape[0], dtype=np.int64)
    return _residual_variances(source, codes, _Totals(source, codes, 0))[0]


class _Totals:
    """What the first pass over the cells counts, each rank in its own part of them.

    Parameters
    ----------
    source
        n cells x g genes.
    codes
        Batch codes from 0, shape (n,).
    min_cells
        Cells that a gene must be seen in to count.

    Attributes
    ----------
    usable
        The genes seen in so many cells, shape (g,).
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
            # Which genes are seen in too few cells is known at the end only. Until then, what such
            # a gene may have added to the cells is kept: very little, as it has few cells.
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
    """Yield each batch's code, and the genes and given arrays of the values of its cells."""
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
    """Return `residual_variance` in the usable genes of each batch that has cells, each (g,)."""
    of_cells = np.maximum(totals.of_cells, 1)
    n_cells = np.bincount(codes)
    all_counts = np.bincount(codes, of_cells)
    share = totals.of_genes / np.maximum(all_counts, 1)[:, None]
    # as if every cell had none of the gene ...
    first, second = np.zeros_like(share), np.zeros_like(share)
    for code in np.flatnonzero(n_cells):
        for cells, total in zip(*_levels(of_cells[codes == code]), strict=True):
            _, absent = _residuals(0, total * share[code], n_cells[code])
            first[code] += cells * absent
            second[code] += cells * absent**2
    if ranks.index() > 0:
        first[:], second[:] = 0, 0  # the first rank adds this part
    # ... and then corrected where it has some
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
    """Return the cells at each level of totals that has any, and their mean total."""
    level = np.rint(32 * np.log2(totals)).astype(int)
    level -= level.min()
    n_level = np.bincount(level)
    total_level = np.bincount(level, totals) / np.maximum(n_level, 1)
    return n_level[n_level > 0], total_level[n_level > 0]


def _residuals(
    count: np.ndarray | int, mu: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return clipped Pearson residuals, 0 where mu is 0, of counts with means mu, and of zeros."""
    deviation = np.sqrt(np.maximum(mu + mu**2 / THETA, 1e-300))
    most = np.sqrt(n_cells)
    absent = np.maximum(-mu / deviation, -most)
    return np.clip((count - mu) / deviation, -most, most), absent


def match_genes(names: pd.Index, wanted: np.ndarray) -> np.ndarray:
    """Return where a model's genes are among those of new cells, as `cut_genes` takes it.

    A name that is not there matches one that differs in "_" and "-" alone: a gene that has been in
    a Seurat object has lost its underscores.

    Parameters
    ----------
    names
        Names of the genes of the new cells.
    wanted
        Names of the model's g genes.

    Returns
    -------
    Columns, shape (g,), negative where a gene is missing (reported by a warning).

    Raises
    ------
    InputError
        If more than half of the genes are missing.
    """
    at = names.get_indexer(wanted)
    missing = at < 0
    if missing.any():
        plain = names.astype(str).str.replace("_", "-")  # as Seurat writes every name
        if plain.is_unique:
            renamed = pd.Index([name.replace("_", "-") for name in wanted[missing]])
            found = plain.get_indexer(renamed)
            # a column is one gene: not one that has its own name there, and not one of two
            found[np.isin(found, at[at >= 0]) | renamed.duplicated(keep=False)] = -1
            at[missing] = found
    measured = at >= 0
    if measured.mean() < _MIN_SHARED:
        raise InputError(
            "too-few-genes",
            "only {n_measured} of the model's {n_genes} genes are among those of the new cells; "
            "at least half are needed: give cells with the gene names of the cells fitted (e.g. "
            "'{first}').",
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
    """Return the columns `at`, in that order, with an empty column where `at` is negative."""
    found = np.flatnonzero(at >= 0)
    place = sparse.csr_matrix(
        (np.ones(len(found), dtype=counts.dtype), (at[found], found)),
        shape=(counts.shape[1], len(at)),
    )
    return sparse.csr_matrix(counts @ place)
