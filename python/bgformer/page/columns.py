"""Columns of ``obs`` and expression of genes, as bytes that a page colours cells by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bgformer.data.counts import log_normalised, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.data.source import source_of
from bgformer.page.stops import finite
from bgformer.store.looks import colours_name
from bgformer.store.palette import added_colours

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.cells import Cells
    from bgformer.data.source import StoredCells

_STEPS = 255
"""Numbers are drawn in this many steps."""
MOST_GROUPS = 100
"""A column with more groups than this is left out: nobody tells as many colours apart."""
MOST_COLUMNS = 60


def encoded(
    adata: AnnData, names: list[str], rows: np.ndarray
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return what is said of columns, and their values for some cells, uint8 each.

    Groups are numbered, and missing values are one more group. Numbers are put on a scale of
    0 to 255, where missing ones are 0.
    """
    described: list[dict[str, Any]] = []
    values = []
    for name in names:
        column = adata.obs[name]
        if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != bool:
            of_cells = column.to_numpy(dtype=float, na_value=np.nan)
            known = of_cells[np.isfinite(of_cells)]
            low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
            described.append({"name": name, "low": finite(low), "high": finite(high)})
            values.append(scaled(of_cells[rows], low, high))
        else:
            groups = pd.Categorical(column).remove_unused_categories()
            called = list(map(str, groups.categories))
            colours = _colours(adata, name, column, called)
            codes = np.asarray(groups.codes)[rows].astype(np.int64)
            if (np.asarray(groups.codes) < 0).any():
                called, colours = [*called, "missing"], [*colours, "#999999"]
            described.append({"name": name, "groups": called, "colours": colours})
            values.append(np.where(codes < 0, len(called) - 1, codes).astype(np.uint8))
    return described, values


def drawable(obs: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of the columns that a page can colour cells by, and of all others.

    They are numbers, or at most `MOST_GROUPS` groups, in the first `MOST_COLUMNS` such columns.
    """
    fit = [name for name in obs.columns if isinstance(name, str) and _is_drawable(obs[name])]
    fit = fit[:MOST_COLUMNS]
    return fit, [str(name) for name in obs.columns if name not in fit]


def _is_drawable(column: pd.Series) -> bool:
    """Tell whether a column holds numbers, or no more than `MOST_GROUPS` groups."""
    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != bool:
        return not pd.api.types.is_complex_dtype(column.dtype)
    try:
        return bool(column.nunique() <= MOST_GROUPS)
    except TypeError:  # lists and the like are no groups
        return False


def _colours(adata: AnnData, name: str, column: pd.Series, called: list[str]) -> list[str]:
    """Return the stored colours of groups where they are known, and new ones elsewhere."""
    from matplotlib.colors import is_color_like, to_hex

    given = adata.uns.get(colours_name(name))
    given = () if given is None else given
    categories = list(map(str, column.cat.categories)) if hasattr(column, "cat") else []
    known = {}
    if len(given) == len(categories):
        known = {
            group: to_hex(colour)
            for group, colour in zip(categories, map(str, given), strict=True)
            if is_color_like(colour)
        }
    return added_colours(known, called)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return numbers as steps from 0 (`low`) to 255 (`high`), uint8; missing ones are 0."""
    width = (high - low) or 1.0
    steps = np.nan_to_num((values - low) / width * _STEPS)
    return np.asarray(np.clip(steps, 0, _STEPS).round().astype(np.uint8))


def expression_of(
    cells: Cells | StoredCells,
    layer: str | None,
    genes: np.ndarray,
    rows: np.ndarray,
    used: np.ndarray,
) -> tuple[list[float], np.ndarray, int]:
    """Return the largest value of some genes, and their values in some cells on a scale to it.

    A value is log(1 + counts), with the counts of each cell scaled to a total of 10,000.

    Parameters
    ----------
    cells, layer
        Where the counts are.
    genes
        Numbers of the genes, shape (g,).
    rows
        Numbers of the cells, ascending, shape (s,).
    used
        True for the genes that the clusters are made from.

    Returns
    -------
    The largest values, g x s uint8, and the number of cells that have no counts in `used`.
    """
    source = source_of(cells, layer, min_cells=1)
    found = np.zeros((len(genes), len(rows)), dtype=np.float32)
    n_blank = 0
    for start, counts in source.blocks():
        seen = np.unique(rows_of_values(counts)[used[counts.indices]])
        n_blank += counts.shape[0] - len(seen)
        first, last = np.searchsorted(rows, [start, start + counts.shape[0]])
        if first == last:
            continue
        some = counts[rows[first:last] - start]
        data = with_size_factors(some, np.zeros(some.shape[0], dtype=np.int64), LOG_TOTAL)
        found[:, first:last] = log_normalised(data)[:, genes].toarray().T
    most = found.max(axis=1, initial=0)
    steps = [scaled(values, 0, high) for values, high in zip(found, most, strict=True)]
    is_seen = found > 0
    steps = [np.maximum(of, seen) for of, seen in zip(steps, is_seen, strict=True)]
    return [float(finite(high) or 0) for high in most], np.array(steps, dtype=np.uint8), n_blank
