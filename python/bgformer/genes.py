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
_MIN_SHARED = 0.5
"""Share of the model's genes that new cells must have."""


def select_genes(
    counts: sparse.csr_matrix, n_top_genes: int, batch: np.ndarray | None = None
) -> np.ndarray:
    """Choose highly variable genes, by the variance of standardised counts.

    The variance that counts of a given mean have is read off a lowess curve of log variance on
    log mean; a gene ranks by the variance of its counts in units of that expectation, counts
    clipped at sqrt(n) standard deviations (Stuart et al. 2019, doi:10.1016/j.cell.2019.05.031,
    "vst"). With batches, genes are ranked within each and the ranks' medians are compared.

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
        scores = standardised_variance(counts[codes == code][:, usable])
        ranks.append(np.argsort(np.argsort(-scores, kind="stable"), kind="stable"))
    best = np.argsort(np.median(ranks, axis=0), kind="stable")[:n_top_genes]
    return np.sort(usable[best])


def standardised_variance(counts: sparse.csr_matrix) -> np.ndarray:
    """Variance of each gene's counts over the variance expected at its mean, shape (g,)."""
    from statsmodels.nonparametric.smoothers_lowess import lowess

    n = counts.shape[0]
    columns = counts.tocsc().astype(np.float64)
    mean = np.asarray(columns.mean(axis=0)).ravel()
    square = np.asarray(columns.multiply(columns).mean(axis=0)).ravel()
    variance = (square - mean**2) * n / max(n - 1, 1)
    varies = variance > 0
    if varies.sum() < 10:  # no curve through so few genes
        return variance
    log_mean, log_variance = np.log10(mean[varies]), np.log10(variance[varies])
    expected = np.full(len(mean), np.inf)
    expected[varies] = 10 ** lowess(
        log_variance, log_mean, frac=0.3, delta=0.01 * np.ptp(log_mean), return_sorted=False
    )
    ceiling = mean + np.sqrt(n * expected)
    clipped = columns.copy()
    gene_of = np.repeat(np.arange(len(mean)), np.diff(columns.indptr))
    clipped.data = np.minimum(clipped.data, ceiling[gene_of])
    total = np.asarray(clipped.sum(axis=0)).ravel()
    total_square = np.asarray(clipped.multiply(clipped).sum(axis=0)).ravel()
    scores = (n * mean**2 + total_square - 2 * total * mean) / (max(n - 1, 1) * expected)
    scores[~varies] = -1.0
    return scores


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
