"""Genes: which ones a model uses, and where they are in new cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from bgformer.counts import CountsError

if TYPE_CHECKING:
    import pandas as pd

MIN_CELLS_PER_GENE = 3
"""A gene seen in fewer cells carries no information on groups of cells."""
THETA = 100.0
"""Dispersion of the null model of gene selection: what counts vary by without biology, as measured
by its authors on control RNA."""
_MIN_SHARED = 0.5
"""Share of the model's genes that new cells must have."""


def select_genes(
    counts: sparse.csr_matrix, n_top_genes: int, batch: np.ndarray | None = None
) -> np.ndarray:
    """Choose highly variable genes, by the variance of their Pearson residuals.

    See `residual_variance`. With batches, genes are ranked within each and the ranks' medians are
    compared.

    Parameters
    ----------
    counts
        n cells x g genes.
    n_top_genes
        How many to keep; all usable genes are kept if there are no more than this.
    batch
        Batch codes, shape (n,).

    Returns
    -------
    Indices of the chosen genes, ascending.

    Raises
    ------
    CountsError
        If no gene is seen in at least three cells.
    """
    n_cells = np.diff(counts.tocsc().indptr)
    usable = np.flatnonzero(n_cells >= MIN_CELLS_PER_GENE)
    if usable.size == 0:
        raise CountsError(
            f"no gene is left after selection: none is seen in {MIN_CELLS_PER_GENE} cells or "
            f"more; check that the matrix is not the wrong way round."
        )
    if usable.size <= n_top_genes:
        return usable
    codes = np.zeros(counts.shape[0], dtype=int) if batch is None else batch
    ranks = []
    for code in np.unique(codes):
        scores = residual_variance(counts[codes == code][:, usable])
        ranks.append(np.argsort(np.argsort(-scores, kind="stable"), kind="stable"))
    best = np.argsort(np.median(ranks, axis=0), kind="stable")[:n_top_genes]
    return np.sort(usable[best])


def residual_variance(counts: sparse.csr_matrix) -> np.ndarray:
    r"""Return the variance of each gene's Pearson residuals, shape (g,).

    With mu the gene's share of all counts times the cell's total, a count x has the residual
    ``(x - mu) / sqrt(mu + mu^2 / theta)``, theta = 100, clipped at sqrt(n) (Lause et al. 2021,
    doi:10.1186/s13059-021-02451-7, eq. 3). It is about 1 for a gene that varies by counting alone.

    The cells in which a gene is zero enter through their totals, a few hundred levels of them, so
    nothing dense of n x g is made; levels 1/32 of a doubling wide change no variance by 1 %.
    """
    n = counts.shape[0]
    columns = counts.tocsc()
    totals = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1)
    share = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / totals.sum()
    level = np.rint(32 * np.log2(totals)).astype(int)
    level -= level.min()
    n_level = np.bincount(level)
    total_level = np.bincount(level, totals) / np.maximum(n_level, 1)
    n_level, total_level = n_level[n_level > 0], total_level[n_level > 0]
    # as if every cell had none of the gene ...
    first, second = np.zeros(len(share)), np.zeros(len(share))
    for cells, total in zip(n_level, total_level, strict=True):
        absent = _residual(0, total * share, n)
        first += cells * absent
        second += cells * absent**2
    # ... and then corrected where it has some
    gene = np.repeat(np.arange(len(share)), np.diff(columns.indptr))
    mu = totals[columns.indices] * share[gene]
    present, absent = _residual(columns.data, mu, n), _residual(0, mu, n)
    first += np.bincount(gene, present - absent, minlength=len(share))
    second += np.bincount(gene, present**2 - absent**2, minlength=len(share))
    return second / n - (first / n) ** 2


def _residual(count: np.ndarray | int, mu: np.ndarray, n_cells: int) -> np.ndarray:
    """Return clipped Pearson residuals of counts with means mu; 0 where mu is 0."""
    deviation = np.sqrt(np.maximum(mu + mu**2 / THETA, 1e-300))
    return np.clip((count - mu) / deviation, -np.sqrt(n_cells), np.sqrt(n_cells))


def match_genes(
    counts: sparse.csr_matrix, names: pd.Index, wanted: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the columns of a model's genes, in its order, and which of them were measured.

    Parameters
    ----------
    counts
        n cells x genes.
    names
        Names of the genes of `counts`.
    wanted
        Names of the model's g genes.

    Returns
    -------
    Counts n x g, empty where a gene is missing (reported by a warning), and a mask of shape (g,).

    Raises
    ------
    ValueError
        If more than half of the genes are missing.
    """
    at = names.get_indexer(wanted)
    measured = at >= 0
    if measured.mean() < _MIN_SHARED:
        raise ValueError(
            f"only {measured.sum()} of the model's {len(wanted)} genes are in adata.var_names; "
            f"at least half are needed: give cells with the gene names of the cells fitted "
            f"(e.g. '{wanted[~measured][0]}')."
        )
    if not measured.all():
        warnings.warn(
            f"{(~measured).sum()} of the model's {len(wanted)} genes are missing in the new cells "
            f"(the first: '{wanted[~measured][0]}') and are treated as not measured.",
            stacklevel=3,
        )
    return cut_genes(counts, at), measured


def cut_genes(counts: sparse.csr_matrix, at: np.ndarray) -> sparse.csr_matrix:
    """Return the columns `at`, in that order, with an empty column where `at` is negative."""
    found = np.flatnonzero(at >= 0)
    place = sparse.csr_matrix(
        (np.ones(len(found), dtype=counts.dtype), (at[found], found)),
        shape=(counts.shape[1], len(at)),
    )
    return sparse.csr_matrix(counts @ place)
