"""What counts, names and batches must be, and the sentences for those that are not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.data.counts import cell_totals, row_block
from bgformer.data.matrices import CountsError, as_csr, in_single_precision, reading
from bgformer.messages import InputError
from bgformer.runtime import block_sizes

if TYPE_CHECKING:
    from bgformer.data.cells import Cells


MIN_CELLS = 20
"""Fewer cells than this cannot say anything about clusters."""
_CELLS_PER_BATCH = 10
"""With fewer on average, a column names cells and not batches."""
_MANY_CELLS, _MANY_COUNTS, _ALIKE = 50, 100, 1.02
"""So many cells of so many counts do not have totals this much alike by chance."""
_BARCODE, _SOME_NAMES = r"(.*[_-])?[ACGT]{12,}([._-].*)?", 100
"""What 10x and its like call a cell."""
_SOME_CELLS, _SOME_VALUES = 200, 200_000
"""What is looked at to tell whether a matrix may hold counts."""
LARGEST = 2**24
"""All whole numbers up to this one, and none beyond, are exact in single precision."""


def read_counts(
    adata: Cells, layer: str | None = None, min_cells: int = MIN_CELLS
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
        If the matrix is missing, empty, damaged, or holds values that are not counts, if names are
        duplicated, or if a cell has no counts.
    """
    matrix, check = find_counts(adata, layer, min_cells), Check(adata, layer)
    with reading(check.place):
        counts = as_csr(matrix, check.place)
    for start in range(0, adata.n_obs, block_sizes.COUNTS):
        check.block(start, row_block(counts, start, start + block_sizes.COUNTS))
    check.end()
    return in_single_precision(counts)


def find_counts(adata: Cells, layer: str | None, min_cells: int) -> object:
    """Return the matrix that holds the counts as it is, after all checks but those of values.

    Raises
    ------
    CountsError
        If there is none, or it is too small, or names are duplicated.
    """
    if layer is not None and layer not in adata.layers:
        have = _listed([name for name in adata.layers if name is not None]) or "none"
        raise CountsError(
            "no-such-layer",
            "{name[layer]} '{layer}' is not in {name[adata.layers]} (there: {have}).",
            layer=layer,
            have=have,
        )
    matrix = _x(adata) if layer is None else adata.layers[layer]
    if matrix is None:
        raise CountsError("no-counts", "adata.X is empty{hint}.", hint=_hint(adata, layer))
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise CountsError(
            "empty-matrix",
            "the matrix is empty ({n_cells} cells x {n_genes} genes); give cells x genes with "
            "counts.",
            n_cells=adata.n_obs,
            n_genes=adata.n_vars,
        )
    if adata.n_obs < min_cells:
        raise CountsError(
            "too-few-cells",
            "{n_cells} cells are too few to cluster; at least {least} are needed.",
            n_cells=adata.n_obs,
            least=min_cells,
        )
    check_unique(adata.obs_names, "cell", "adata.obs_names_make_unique()")
    check_unique(adata.var_names, "gene", "adata.var_names_make_unique()")
    first = adata.var_names[:_SOME_NAMES]
    if np.mean(first.astype(str).str.fullmatch(_BARCODE)) > 0.9:
        raise CountsError(
            "transposed",
            "the genes have the names of cells (the first: '{first}'), so the matrix is the wrong "
            "way round; transpose it.",
            first=first[0],
        )
    return matrix


class Check:
    """The checks of values, a block of cells at a time.

    Parameters
    ----------
    adata
        Where the counts are from: names for the message, and where else there may be counts.
    layer
        Name of the layer that holds the counts; None for ``X``.

    Attributes
    ----------
    place
        The matrix and the file it is in, for messages.
    """

    def __init__(self, adata: Cells, layer: str | None) -> None:
        self.adata, self.layer = adata, layer
        self.where = "X" if layer is None else f"layer '{layer}'"
        file = adata.filename
        self.place = self.where if file is None else f"{self.where} of '{file}'"
        self.n_seen, self.n_empty, self.first_empty = 0, 0, -1
        self.least, self.most = np.inf, 0.0

    def block(self, start: int, counts: sparse.csr_matrix) -> None:
        """Raise unless all values are finite whole numbers, neither negative nor too large.

        Parameters
        ----------
        start
            Number of the first cell of the block.
        counts
            The block, cells x g genes, as from `matrices.as_csr`: not rounded to float32.
        """
        for wrong, what in (
            (~np.isfinite(counts.data), "values that are NaN or infinite"),
            (counts.data < 0, "negative values"),
            (counts.data != np.rint(counts.data), "values that are not whole numbers"),
            (
                counts.data > LARGEST,
                f"values above {LARGEST:,}, the largest that is exact",
            ),
        ):
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                row = int(np.searchsorted(counts.indptr, first, side="right") - 1)
                cell = self.adata.obs_names[start + row]
                gene = self.adata.var_names[counts.indices[first]]
                raise CountsError(
                    "not-counts",
                    "{where} holds {what} ({value} in cell '{cell}', gene '{gene}'), so it is "
                    "not raw counts{hint}.",
                    where=self.where,
                    what=what,
                    value=str(counts.data[first]).removesuffix(".0"),
                    cell=cell,
                    gene=gene,
                    hint=_hint(self.adata, self.layer),
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
                "empty-cells",
                "{n_empty} of {n_cells} cells have no counts in {where} (the first: '{first}'); "
                "remove them, e.g. with scanpy.pp.filter_cells(adata, min_counts=1).",
                n_empty=self.n_empty,
                n_cells=self.n_seen,
                where=self.where,
                first=self.adata.obs_names[self.first_empty],
            )
        alike = _MANY_COUNTS <= self.most <= _ALIKE * self.least
        if alike and self.n_seen >= _MANY_CELLS:
            warnings.warn(
                f"all cells have about {self.most:.0f} counts, as after normalisation and "
                f"rounding; give the raw counts, unless they were sampled down to one number.",
                stacklevel=3,
            )


def _hint(adata: Cells, layer: str | None) -> str:
    """Name the place in `adata` that does look like counts, if there is one."""
    if layer is not None and _looks_like_counts(_x(adata)):
        return "; X looks like counts: leave layer out"
    for name in adata.layers:
        if name != layer and _looks_like_counts(adata.layers[name]):
            return f"; layer '{name}' looks like counts: use layer='{name}'"
    if adata.raw is not None and _looks_like_counts(adata.raw.X):
        return "; adata.raw looks like counts: use adata.raw.to_adata()"
    return "; give the raw counts, before normalisation and logarithm"


def _x(adata: Cells) -> Any:
    """Return ``X``; None if there is none, for which a backed AnnData raises KeyError."""
    try:
        return adata.X
    except KeyError:
        return None


def _looks_like_counts(matrix: Any) -> bool:
    """Tell from the first values, or cells if it is dense, whether a matrix holds counts.

    A matrix that cannot be read does not: this is only a hint in another message.
    """
    if matrix is None or matrix.shape[0] == 0:
        return False
    try:
        if hasattr(matrix, "group"):  # a sparse data set
            values = matrix.group["data"][:_SOME_VALUES]
        elif sparse.issparse(matrix):
            values = matrix.data[:_SOME_VALUES]
        else:
            values = np.asarray(matrix[:_SOME_CELLS]).ravel()
    except Exception:  # h5py and zarr raise their own kinds
        return False
    return bool(
        values.dtype.kind in "biuf"
        and values.size
        and np.isfinite(values).all()
        and (values >= 0).all()
        and (values % 1 == 0).all()
    )


def check_unique(names: pd.Index, what: str, remedy: str) -> None:
    """Raise CountsError if a cell or gene has several names, or its name stands twice."""
    if isinstance(names, pd.MultiIndex):
        raise CountsError(
            "multi-index",
            "the {what} names are a MultiIndex of {n} levels; give each {what} one name.",
            what=what,
            n=names.nlevels,
        )
    if not names.is_unique:
        twice = names[names.duplicated()]
        raise CountsError(
            "duplicated-names",
            "{n_twice} {what} names are duplicated (the first: '{first}'); make them unique, e.g. "
            "with {remedy}.",
            n_twice=len(twice),
            what=what,
            first=twice[0],
            remedy=remedy,
        )


def read_batch(adata: Cells, batch_key: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the batch of each cell as codes, shape (n,), and the names of the batches."""
    if batch_key is None:
        return np.zeros(adata.n_obs, dtype=np.int32), ["all"]
    if batch_key not in adata.obs:
        raise InputError(
            "no-such-batch",
            "{name[batch_key]} '{column}' is not a column of {name[adata.obs]} (there: {have}).",
            column=batch_key,
            have=_listed(list(adata.obs.columns)) or "none",
        )
    codes, names = pd.factorize(adata.obs[batch_key].astype(str), sort=True)
    if adata.obs[batch_key].isna().any():
        raise InputError(
            "missing-batches",
            "column '{column}' of {name[adata.obs]} has missing values; fill them first.",
            column=batch_key,
        )
    if len(names) > 1 and len(codes) < _CELLS_PER_BATCH * len(names):
        raise InputError(
            "too-many-batches",
            "{name[batch_key]} has {n_batches} batches for {n_cells} cells; a batch needs {least} "
            "cells or more on average, so give one with fewer batches.",
            n_batches=len(names),
            n_cells=len(codes),
            least=_CELLS_PER_BATCH,
        )
    return codes.astype(np.int32), [str(name) for name in names]


def warn_blank(blank: np.ndarray, n_genes: int, names: pd.Index) -> None:
    """Report cells without any count in the model's genes, given their numbers."""
    if blank.size:
        warnings.warn(
            f"{blank.size} cells have no counts in the {n_genes} genes used (the first: "
            f"'{names[blank[0]]}'); their clusters mean nothing: consider removing them.",
            stacklevel=3,
        )


def _listed(names: list[str], most: int = 5) -> str:
    """Join names for a message, and cut a long list short."""
    text = ", ".join(f"'{name}'" for name in names[:most])
    return f"{text}, ..." if len(names) > most else text
