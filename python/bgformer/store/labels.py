"""Labels that a user gave the cells of a reference, and what new cells get of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.arguments import is_several, wrong
from bgformer.graph.labels import label_shares, vote_for_labels
from bgformer.messages import InputError
from bgformer.store.looks import UNASSIGNED, colours_name, unassigned_in
from bgformer.store.naming import check_name, foreign, outlier_name
from bgformer.store.palette import GREY
from bgformer.store.results import confidence_name, weights_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted

_NOTE = "labels"
"""Part of an entry of ``uns`` that names the columns with predicted labels."""


class Labels(NamedTuple):
    """A column of labels, as the anchors of a reference know it.

    Attributes
    ----------
    column
        Its name.
    categories
        The k labels.
    colours
        A colour for each; None if the reference has none.
    shares
        Share of each label at each anchor, m x k; see `graph.labels.label_shares`.
    """

    column: str
    categories: list[str]
    colours: np.ndarray | None
    shares: np.ndarray

    def of_cells(self, weights: Any, unassigned: np.ndarray | None) -> dict[str, Any]:
        """Return what ``obs`` of new cells gets.

        Parameters
        ----------
        weights
            Weights of the cells on the anchors, n x m.
        unassigned
            True for cells that are unlike the reference, shape (n,); None for no cell.
        """
        apart = np.zeros(weights.shape[0], dtype=bool) if unassigned is None else unassigned
        codes, confidence = vote_for_labels(weights, self.shares)
        n_without = np.count_nonzero((codes < 0) & ~apart)
        if n_without:
            warnings.warn(
                f"{n_without} of {len(codes)} cells get no label of '{self.column}', because "
                "most cells of the reference near them have none.",
                stacklevel=5,
            )
        categories = list(
            dict.fromkeys([*self.categories, *([UNASSIGNED] if apart.any() else [])])
        )
        if apart.any():
            codes = np.where(apart, categories.index(UNASSIGNED), codes)
        labels = pd.Categorical.from_codes(codes, categories=categories)
        return {self.column: labels, confidence_name(self.column): confidence}


def labels_in(reference: AnnData, key: str, given: Any) -> list[Labels]:
    """Return columns of a reference.

    Parameters
    ----------
    reference
        Cells with results named `key`.
    key
        Name of the results.
    given
        None, the name of a column of ``obs``, or several names.

    Raises
    ------
    InputError
        If there is no such column, or it holds no labels.
    """
    names = [] if given is None else list(given) if is_several(given) else [given]
    if not all(isinstance(name, str) for name in names):
        raise wrong("labels", given, "the name of a column of the reference, or a list of names")
    return [_labels(reference, key, name) for name in dict.fromkeys(names)]


def _labels(reference: AnnData, key: str, name: str) -> Labels:
    """Return a column of a reference."""
    if name in (key, confidence_name(key), outlier_name(key)):
        raise InputError(
            "name-of-results",
            "{name[labels]} is '{given}', where new cells get their clusters; copy that column of "
            "the reference to another name, and give that.",
            given=name,
        )
    if name not in reference.obs:
        raise InputError(
            "no-such-column",
            "{name[labels]} is '{given}', which is not a column of the reference (there: "
            "{there}).",
            given=name,
            there=", ".join(f"'{column}'" for column in reference.obs) or "none",
        )
    column = reference.obs[name]
    weights = sparse.csr_matrix(reference.obsm[weights_name(key)])
    apart = unassigned_in(reference.obs, key, reference.uns[key])
    if apart is not None:  # they tell nothing of the anchors near them
        column, weights = column[~apart], weights[np.flatnonzero(~apart)]
    labels = _as_text(column.where(column.astype(object) != UNASSIGNED))
    k, problem = len(labels.categories), None
    if pd.api.types.is_float_dtype(column.dtype):
        problem = "holds numbers, not labels"
    elif k == 0:
        problem = "has no labels"
    elif k > weights.shape[1]:
        problem = f"has {k} different labels, which {weights.shape[1]} anchors cannot tell apart"
    if problem is not None:
        raise InputError(
            "no-labels",
            "{name[labels]} is '{given}', but this column of the reference {problem}; give one "
            "with names of groups of cells.",
            given=name,
            problem=problem,
        )
    shares = label_shares(weights, np.asarray(labels.codes), k)
    return Labels(name, list(labels.categories), _colours(reference, name, column, labels), shares)


def _as_text(column: pd.Series) -> pd.Categorical:
    """Return labels as text, those that cells have, in the order of the column's categories."""
    labels = pd.Categorical(column).remove_unused_categories()
    texts = np.array([*map(str, labels.categories)], dtype=object)
    codes, names = pd.factorize(texts)  # 1 and "1" are one label
    of_cells = np.append(codes, -1)[labels.codes]
    return pd.Categorical.from_codes(of_cells, categories=names)


def _colours(
    reference: AnnData, name: str, column: pd.Series, labels: pd.Categorical
) -> np.ndarray | None:
    """Return the colours of the labels, which scanpy keeps by category."""
    given = reference.uns.get(colours_name(name))
    all_of_them = column.cat.categories if hasattr(column, "cat") else ()
    if given is None or len(given) != len(all_of_them):
        return None
    of = dict(zip(map(str, all_of_them), map(str, given), strict=True))
    return np.array([of[label] for label in labels.categories], dtype=object)


class Predicted(NamedTuple):
    """What new cells get of labels.

    Attributes
    ----------
    columns
        Columns of ``obs``.
    entries
        Entries of ``uns``: colours.
    note
        Parts of the entry of ``uns`` with the results.
    """

    columns: dict[str, Any]
    entries: dict[str, Any]
    note: dict[str, Any]

    def add_to(self, adata: AnnData, key: str) -> None:
        """Store all of it with the results `key` of the new cells."""
        for name, values in self.columns.items():
            adata.obs[name] = values
        adata.uns.update(self.entries)
        adata.uns[key].update(self.note)


def predicted(labels: Sequence[Labels], new: Fitted, earlier: Sequence[str]) -> Predicted:
    """Return what new cells, placed among the anchors of the reference, get of labels.

    `earlier` are the columns that `labels_before` found.
    """
    columns: dict[str, Any] = {}
    colours: dict[str, np.ndarray] = {}
    for one in labels:
        columns |= one.of_cells(new.weights, new.partition.unassigned)
        if one.colours is not None:
            n_more = len(columns[one.column].categories) - len(one.categories)
            colours[colours_name(one.column)] = np.append(one.colours, n_more * [GREY])
    known = list(dict.fromkeys([*earlier, *(one.column for one in labels)]))
    note = {_NOTE: np.array(known, dtype=object)} if known else {}
    return Predicted(columns, colours, note)


def labels_before(cells: AnnData | StoredCells, key: str) -> list[str]:
    """Return the columns with labels that earlier predictions of this name gave the cells."""
    stored = cells.uns.get(key)
    names = stored.get(_NOTE, ()) if isinstance(stored, Mapping) else ()
    return [str(name) for name in names if str(name) in cells.obs]


def check_labels(cells: AnnData | StoredCells, key: str, labels: list[Labels]) -> None:
    """Raise unless new cells can take labels: what is there must be predicted labels.

    Parameters
    ----------
    cells
        Where they will be stored.
    key
        Name of the results that they will be stored with.
    labels
        What will be stored.
    """
    own = labels_before(cells, key)
    for column in (one.column for one in labels):
        check_name(cells, column, "labels", "a column of the reference")
        for name in (column, confidence_name(column)):
            if name in cells.obs and column not in own:
                raise foreign("obs", name, "labels")
