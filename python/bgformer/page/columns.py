"""Columns of ``obs`` and expression of genes, as bytes that a page colours cells by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bgformer.data.counts import log_normalised, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.data.source import source_of
from bgformer.page.stops import finite, hex_of
from bgformer.store.looks import colours_name
from bgformer.store.palette import GREY, added_colours

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.cells import Cells
    from bgformer.data.source import StoredCells

_STEPS = 255
"""Numbers are drawn in this many steps."""
MISSING = 255
"""Code of a missing number in a column, whose steps are one fewer."""
MOST_GROUPS = 100
"""A column with more groups than this is left out: nobody tells as many colours apart."""
MOST_COLUMNS = 60
_FEW = 20
"""Up to this many different whole numbers are groups, such as batches, and not amounts."""


def encoded(
    adata: AnnData, names: list[str], rows: np.ndarray
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return what is said of columns, and their values for some cells, uint8 each.

    Groups are numbered, and missing values are one more group. Numbers are put on a scale of
    0 to 254, and missing ones are `MISSING`.
    """
    described: list[dict[str, Any]] = []
    values = []
    for name in names:
        column = adata.obs[name]
        if _is_of_groups(column):
            groups, codes = _groups(column)
            colours = _colours(adata, name, column, groups)
            codes = codes[rows]
            if (codes < 0).any():
                colours = [*colours, GREY]
                groups = [*groups, _unused("missing", groups)]
            described.append({"name": name, "groups": groups, "colours": colours})
            values.append(np.where(codes < 0, len(groups) - 1, codes).astype(np.uint8))
        else:
            of_cells = _numbers(column)
            known = of_cells[np.isfinite(of_cells)]
            low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
            steps = scaled(of_cells[rows], low, high, MISSING - 1)
            steps[~np.isfinite(of_cells[rows])] = MISSING
            described.append({"name": name, "low": finite(low), "high": finite(high)})
            values.append(steps)
    return described, values


def drawable(obs: pd.DataFrame, batch_key: str | None = None) -> tuple[list[str], list[str]]:
    """Return the names of the columns that a page can colour cells by, and of all others.

    They are numbers, or at most `MOST_GROUPS` groups: no more than `MOST_COLUMNS`, the batches
    first and then groups.
    """
    once = obs.columns[~obs.columns.duplicated(keep=False)]
    fit = [name for name in once if isinstance(name, str) and _is_drawable(obs[name])]
    fit.sort(key=lambda name: (name != batch_key, not _is_of_groups(obs[name])))
    fit = fit[:MOST_COLUMNS]
    return fit, [str(name) for name in dict.fromkeys(obs.columns) if name not in fit]


def _is_drawable(column: pd.Series) -> bool:
    """Tell whether a column holds numbers, or no more than `MOST_GROUPS` groups."""
    if not _is_of_groups(column):
        return not pd.api.types.is_complex_dtype(column.dtype)
    try:
        return bool(column.nunique() <= MOST_GROUPS)
    except TypeError:  # lists and the like are no groups
        return False


def _is_of_groups(column: pd.Series) -> bool:
    """Tell whether a column holds groups: all but numbers, and a few different whole numbers."""
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return True
    if pd.api.types.is_complex_dtype(column.dtype):
        return False
    known = _numbers(column)
    known = known[np.isfinite(known)]
    return bool(len(known) and (known == np.round(known)).all() and len(np.unique(known)) <= _FEW)


def _numbers(column: pd.Series) -> np.ndarray:
    """Return a column of numbers as float, missing ones as nan."""
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))


def _groups(column: pd.Series) -> tuple[list[str], np.ndarray]:
    """Return the names of groups, and the number of each cell's group; -1 where it is missing."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(
        column.dtype
    ):
        found, codes = np.unique(_numbers(column), return_inverse=True)
        called = [str(int(value)) for value in found if np.isfinite(value)]
        return called, np.where(codes < len(called), codes, -1)
    groups = pd.Categorical(column).remove_unused_categories()
    names = list(map(str, groups.categories))
    called = list(dict.fromkeys(names))  # 1 and "1" have one name
    number = np.array([*map(called.index, names), -1])
    return called, number[np.asarray(groups.codes)]


def _unused(name: str, groups: list[str]) -> str:
    """Return a name that no group has."""
    while name in groups:
        name = f"({name})"
    return name


def _colours(adata: AnnData, name: str, column: pd.Series, called: list[str]) -> list[str]:
    """Return the stored colours of groups where they are known, and new ones elsewhere."""
    given = adata.uns.get(colours_name(name))
    given = () if given is None else given
    categories = list(map(str, column.cat.categories)) if hasattr(column, "cat") else []
    known = {}
    if len(given) == len(categories):
        known = dict(zip(categories, map(hex_of, map(str, given)), strict=True))
    return added_colours(known, called)


def scaled(values: np.ndarray, low: float, high: float, most: int = _STEPS) -> np.ndarray:
    """Return numbers as steps from 0 (`low`) to `most` (`high`), uint8; missing ones are 0."""
    width = (high - low) or 1.0
    steps = np.nan_to_num((values - low) / width * most)
    return np.asarray(np.clip(steps, 0, most).round().astype(np.uint8))


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
