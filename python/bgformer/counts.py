"""Counts in: check them, attach size factors, log-normalise."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData

MIN_CELLS = 20
"""Fewer cells than this cannot say anything about clusters."""

MAX_STANDARDISED = 10.0
"""Bound on a standardised value, as in scanpy and Seurat: a gene seen in three cells would
otherwise outweigh every marker in those three."""

_CELLS_PER_BATCH = 10
"""With fewer on average, a column names cells and not batches."""
_MANY_CELLS, _MANY_COUNTS, _ALIKE = 50, 100, 1.02
"""So many cells of so many counts do not have totals this much alike by chance."""
_BARCODE, _SOME_NAMES = r"(.*[_-])?[ACGT]{12,}([._-].*)?", 100
"""What 10x and its like call a cell."""
BLOCK = 2048
"""Cells per block of a pass over all cells, wherever they are: so that no sum and no product of
matrices depends on whether the cells are in memory or on disk."""


class CountsError(ValueError):
    """The count matrix, or the names that go with it, cannot be used."""


@dataclass(frozen=True)
class CountData:
    """Counts of the model's genes, ready for minibatches.

    Attributes
    ----------
    counts
        Raw counts, n cells x g genes, CSR float32.
    size_factors
        Counts per cell in these genes over their median in the training cells, shape (n,).
    batch
        Batch of each cell as a code from 0, shape (n,).
    median_counts
        The median that the size factors are relative to.
    """

    counts: sparse.csr_matrix
    size_factors: np.ndarray
    batch: np.ndarray
    median_counts: float

    def rows(self, index: np.ndarray | slice) -> CountData:
        """Return some of the cells, with the size factors that they have."""
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
    """Return the rows from `start` to before `stop`, which share the matrix's memory."""
    stop = min(stop, matrix.shape[0])
    first, last = matrix.indptr[start], matrix.indptr[stop]
    parts = (
        matrix.data[first:last],
        matrix.indices[first:last],
        matrix.indptr[start : stop + 1] - first,
    )
    return sparse.csr_matrix(parts, shape=(stop - start, matrix.shape[1]))


def read_counts(
    adata: AnnData, layer: str | None = None, min_cells: int = MIN_CELLS
) -> sparse.csr_matrix:
    """Return the counts of `adata` as CSR float32, checked; `adata` itself is not changed.

    Parameters
    ----------
    adata
        Cells x genes; dense or sparse of any integer or floating type, in memory or backed.
    layer
        Name of the layer that holds the counts; None for ``X``.
    min_cells
        Least number of cells: what a fit needs, unless said otherwise.

    Returns
    -------
    Counts, n cells x g genes, in canonical CSR form (sorted, no stored zeros).

    Raises
    ------
    CountsError
        If the matrix is missing, empty, or holds negative, non-finite or fractional values, if
        names are duplicated, or if a cell has no counts.
    """
    counts = as_csr(find_counts(adata, layer, min_cells))
    check = Check(adata, layer)
    for start in range(0, adata.n_obs, BLOCK):
        check.block(start, row_block(counts, start, start + BLOCK))
    check.end()
    return counts


def find_counts(adata: AnnData, layer: str | None, min_cells: int) -> object:
    """Return the matrix that holds the counts as it is, after all checks but those of values.

    Raises
    ------
    CountsError
        If there is none, or it is too small, or names are duplicated.
    """
    if layer is not None and layer not in adata.layers:
        have = _listed(list(adata.layers)) or "none"
        raise CountsError(f"layer '{layer}' is not in adata.layers (there: {have}).")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise CountsError(f"adata.X is empty{_hint(adata, layer)}.")
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise CountsError(
            f"the matrix is empty ({adata.n_obs} cells x {adata.n_vars} genes); give cells x "
            f"genes with counts."
        )
    if adata.n_obs < min_cells:
        raise CountsError(
            f"{adata.n_obs} cells are too few to cluster; at least {min_cells} are needed."
        )
    check_unique(adata.obs_names, "cell", "adata.obs_names_make_unique()")
    check_unique(adata.var_names, "gene", "adata.var_names_make_unique()")
    first = adata.var_names[:_SOME_NAMES]
    if np.mean(first.astype(str).str.fullmatch(_BARCODE)) > 0.9:
        raise CountsError(
            f"the genes have the names of cells (the first: '{first[0]}'), so the matrix is the "
            f"wrong way round; transpose it."
        )
    return matrix


def as_csr(matrix: object) -> sparse.csr_matrix:
    """Return any matrix an AnnData can hold as canonical CSR float32, which is only to be read."""
    if hasattr(matrix, "to_memory"):  # a backed sparse data set
        matrix = matrix.to_memory()
    if sparse.issparse(matrix):
        counts = sparse.csr_matrix(matrix)
    else:
        counts = sparse.csr_matrix(np.asarray(matrix))
    if counts.dtype != np.float32:
        with np.errstate(over="ignore"):  # what float32 cannot hold is reported as infinite
            values = counts.data.astype(np.float32)
        counts = sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    if counts.has_canonical_format and counts.data.all():
        return counts  # read only from here on, so the caller's memory can be shared
    counts = counts.copy()
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


class Check:
    """The checks of values, a block of cells at a time.

    Parameters
    ----------
    adata
        Where the counts are from: names for the message, and where else there may be counts.
    layer
        Name of the layer that holds the counts; None for ``X``.
    """

    def __init__(self, adata: AnnData, layer: str | None) -> None:
        self.adata, self.layer = adata, layer
        self.where = "X" if layer is None else f"layer '{layer}'"
        self.n_seen, self.n_empty, self.first_empty = 0, 0, -1
        self.least, self.most = np.inf, 0.0

    def block(self, start: int, counts: sparse.csr_matrix) -> None:
        """Raise unless every value is a finite whole number that is not negative.

        Parameters
        ----------
        start
            Number of the first cell of the block.
        counts
            The block, cells x g genes.
        """
        for wrong, what in (
            (~np.isfinite(counts.data), "values that are NaN or infinite"),
            (counts.data < 0, "negative values"),
            (counts.data != np.rint(counts.data), "values that are not whole numbers"),
        ):
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                row = int(np.searchsorted(counts.indptr, first, side="right") - 1)
                cell = self.adata.obs_names[start + row]
                gene = self.adata.var_names[counts.indices[first]]
                raise CountsError(
                    f"{self.where} holds {what} ({counts.data[first]:.4g} in cell '{cell}', gene "
                    f"'{gene}'), so it is not raw counts{_hint(self.adata, self.layer)}."
                )
        empty = np.flatnonzero(np.diff(counts.indptr) == 0)
        if empty.size and not self.n_empty:
            self.first_empty = start + int(empty[0])
        self.n_empty += len(empty)
        self.n_seen += counts.shape[0]
        totals = cell_totals(counts)
        self.least, self.most = min(self.least, totals.min()), max(self.most, totals.max())

    def end(self) -> None:
        """Raise if a cell had no counts, warn if all cells have the same number of them."""
        if self.n_empty:
            raise CountsError(
                f"{self.n_empty} of {self.n_seen} cells have no counts in {self.where} (the "
                f"first: '{self.adata.obs_names[self.first_empty]}'); remove them, e.g. with "
                f"scanpy.pp.filter_cells(adata, min_counts=1)."
            )
        alike = _MANY_COUNTS <= self.most <= _ALIKE * self.least
        if alike and self.n_seen >= _MANY_CELLS:
            warnings.warn(
                f"all cells have about {self.most:.0f} counts, as after normalisation and "
                f"rounding; give the raw counts, unless they were sampled down to one number.",
                stacklevel=3,
            )


def _hint(adata: AnnData, layer: str | None) -> str:
    """Name the place in `adata` that does look like counts, if there is one."""
    if layer is not None and _looks_like_counts(adata.X):
        return "; X looks like counts: leave layer out"
    for name in adata.layers:
        if name != layer and _looks_like_counts(adata.layers[name]):
            return f"; layer '{name}' looks like counts: use layer='{name}'"
    if adata.raw is not None and _looks_like_counts(adata.raw.X):
        return "; adata.raw looks like counts: use adata.raw.to_adata()"
    return "; give the raw counts, before normalisation and logarithm"


def _looks_like_counts(matrix: object) -> bool:
    """Tell from its first 200 cells whether a matrix holds counts."""
    if matrix is None or matrix.shape[0] == 0:
        return False
    head = matrix[:200]
    values = head.data if sparse.issparse(head) else np.asarray(head).ravel()
    values = np.asarray(values)
    return bool(
        values.size
        and np.isfinite(values).all()
        and (values >= 0).all()
        and (values % 1 == 0).all()
    )


def check_unique(names: pd.Index, what: str, remedy: str) -> None:
    """Raise CountsError if a cell or gene name stands twice."""
    if not names.is_unique:
        twice = names[names.duplicated()]
        raise CountsError(
            f"{len(twice)} {what} names are duplicated (the first: '{twice[0]}'); make them "
            f"unique, e.g. with {remedy}."
        )


def read_batch(adata: AnnData, batch_key: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the batch of each cell as codes, shape (n,), and the names of the batches."""
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int32), ["all"]
    if batch_key not in adata.obs:
        raise ValueError(
            f"batch_key '{batch_key}' is not a column of adata.obs (there: "
            f"{_listed(list(adata.obs.columns)) or 'none'})."
        )
    codes, names = pd.factorize(adata.obs[batch_key].astype(str), sort=True)
    if adata.obs[batch_key].isna().any():
        raise ValueError(f"column '{batch_key}' of adata.obs has missing values; fill them first.")
    if len(names) > 1 and len(codes) < _CELLS_PER_BATCH * len(names):
        raise ValueError(
            f"column '{batch_key}' of adata.obs has {len(names)} batches for {len(codes)} cells; "
            f"a batch needs {_CELLS_PER_BATCH} cells or more on average: give a column with fewer."
        )
    return codes.astype(np.int32), [str(name) for name in names]


def with_size_factors(
    counts: sparse.csr_matrix, batch: np.ndarray, median_counts: float | None = None
) -> CountData:
    """Attach size factors: each cell's counts in these genes over the median of cells with any.

    Parameters
    ----------
    counts
        n cells x g genes.
    batch
        Batch codes, shape (n,).
    median_counts
        The training cells' median, for new cells; None to take the median of these.
    """
    totals = cell_totals(counts)
    if median_counts is None:
        median_counts = median_of(totals)
    return CountData(counts, size_factors(totals, median_counts), batch, median_counts)


def cell_totals(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the counts of each cell, shape (n,), summed in double precision."""
    return counts @ np.ones(counts.shape[1])


def rows_of_values(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the row of every stored value, in the order of the values."""
    return np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))


def median_of(totals: np.ndarray) -> float:
    """Return the median count of the cells that have any."""
    return float(np.median(totals[totals > 0]))


def size_factors(totals: np.ndarray, median_counts: float) -> np.ndarray:
    """Return size factors, shape (n,), of cells with these counts."""
    return (np.maximum(totals, 1) / median_counts).astype(np.float32)


def warn_blank(totals: np.ndarray, n_genes: int, names: pd.Index) -> None:
    """Report cells without any count in the model's genes, given their counts there, (n,)."""
    blank = np.flatnonzero(totals == 0)
    if blank.size:
        warnings.warn(
            f"{blank.size} cells have no counts in the {n_genes} genes used (the first: "
            f"'{names[blank[0]]}'); their clusters mean nothing: consider removing them.",
            stacklevel=3,
        )


def log_normalised(data: CountData, total: float | None = None) -> sparse.csr_matrix:
    """Return log(1 + counts / size factor), n cells x g genes, as sparse as the counts.

    With `total`, cells are scaled to this many counts instead of to the median.
    """
    counts = data.counts
    values = np.repeat(data.size_factors, np.diff(counts.indptr))
    np.divide(counts.data, values, out=values)
    if total is not None:
        values *= np.float32(total / data.median_counts)
    np.log1p(values, out=values)
    return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def log_moments(data: CountData, total: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale of each gene's log-normalised counts, both (g,).

    The scale is the standard deviation, kept off zero for a gene that hardly varies. `total` is
    as in `log_normalised`.
    """
    mean, square = np.zeros(data.n_genes), np.zeros(data.n_genes)
    for start in range(0, data.n_cells, BLOCK):
        block = log_normalised(data.rows(slice(start, start + BLOCK)), total)
        values = block.data.astype(np.float64)
        mean += np.bincount(block.indices, values, data.n_genes) / data.n_cells
        square += np.bincount(block.indices, values**2, data.n_genes) / data.n_cells
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, np.maximum(deviation, 1e-3)


def _listed(names: list[str], most: int = 5) -> str:
    """Join names for a message, and cut a long list short."""
    text = ", ".join(f"'{name}'" for name in names[:most])
    return f"{text}, ..." if len(names) > most else text
