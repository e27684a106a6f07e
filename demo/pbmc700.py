"""Recover the counts of the 700 human blood cells that scanpy includes."""

import anndata as ad
import numpy as np
import scanpy as sc


def load_pbmc700() -> ad.AnnData:
    """Return real blood cells with known labels, without a download.

    ``scanpy.datasets.pbmc68k_reduced`` contains only log-normalised values, but each cell has a
    single size factor. After ``expm1``, the values of a cell are whole multiples of its smallest
    value, which is one count.

    Returns
    -------
    AnnData of 700 cells × 765 genes: counts in ``X`` (CSR, int64), labels in
    ``obs["cell_type"]`` (10 categories).

    Raises
    ------
    ValueError
        If the values in the installed scanpy are not whole multiples.
    """
    source = sc.datasets.pbmc68k_reduced()
    counts = source.raw.X.tocsr().astype(np.float64)
    counts.data = np.expm1(counts.data)
    counts.eliminate_zeros()
    one_count = np.minimum.reduceat(counts.data, counts.indptr[:-1])
    ratios = counts.data / np.repeat(one_count, np.diff(counts.indptr))
    whole = np.rint(ratios)
    if not np.allclose(ratios, whole, rtol=2e-3, atol=0):
        raise ValueError(
            "the counts of pbmc68k_reduced cannot be recovered from its values in scanpy "
            f"{sc.__version__}; install the scanpy version in constraints.txt."
        )
    counts.data = whole.astype(np.int64)
    return ad.AnnData(
        X=counts,
        obs=source.obs[["bulk_labels"]].rename(columns={"bulk_labels": "cell_type"}),
        var=source.raw.var[[]],
    )
