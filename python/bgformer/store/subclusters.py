"""Clusters of which some are divided again: their column, and where it comes from."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from bgformer._version import __version__
from bgformer.messages import InputError
from bgformer.store.looks import colours_name
from bgformer.store.naming import check_name, foreign
from bgformer.store.palette import added_colours
from bgformer.store.results import confidence_name

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.pipeline.fitted import Fitted

_SIGN, _AND = ".", "+"
"""Between a cluster and the number of its part, and between clusters that are divided together:
"0.1" is a part of "0", and "0+3.1" one of "0" and "3"."""


class Divided(NamedTuple):
    """Clusters to divide.

    Attributes
    ----------
    name
        Their names, joined; the parts are called after it.
    cells
        True for their cells, shape (n,).
    """

    name: str
    cells: np.ndarray


def check_subclusters(adata: AnnData, column: str, key: str) -> None:
    """Raise unless a column of ``obs`` can take the parts of the clusters `key`.

    Raises
    ------
    InputError
        If the column is not from an earlier call, or from one whose clusters have changed since.
    """
    check_name(adata, column, "cluster_name", "a column")
    stored = adata.uns.get(column)
    if not _is_ours(stored):
        for place, there in (("obs", column), ("obs", confidence_name(column)), ("uns", column)):
            if there in getattr(adata, place):
                raise foreign(place, there, "cluster_name")
    elif stored["clusters"] != _mark(adata, key):
        raise InputError(
            "changed-clusters",
            "the clusters '{key}' have changed since '{column}' was made from them; remove that "
            "column and its entry of adata.uns, or choose another {name[cluster_name]}.",
            key=key,
            column=column,
        )


def divided(adata: AnnData, column: str, key: str, clusters: list[str]) -> Divided:
    """Return the cells of some clusters, with those of all parts they were divided into before.

    Parameters
    ----------
    adata
        The cells.
    column
        Column of ``obs`` with the clusters and parts until now; `key` if there are no parts yet.
    key
        Name of the results that the clusters were first from.
    clusters
        Names of the clusters.

    Raises
    ------
    InputError
        If there is no cluster of this name, or some of its cells were divided together with those
        of another.
    """
    names = adata.obs[column].astype(str).to_numpy()
    cells = np.zeros(len(names), dtype=bool)
    for cluster in clusters:
        own = _cells_of(adata, column, key, cluster, names)
        if not own.any():
            raise InputError(
                "no-such-cluster",
                "there is no cluster '{given}' (there: {there}).",
                given=cluster,
                there=_listed(adata.obs[column], names),
            )
        cells |= own
    shared = sorted(set(names[cells]) & set(names[~cells]))
    if shared:
        raise InputError(
            "divided-together",
            "cells of '{given}' were divided together with others, into '{shared}'; to divide "
            "'{given}' alone, choose another {name[cluster_name]}.",
            given=_AND.join(clusters),
            shared=shared[0],
        )
    return Divided(_AND.join(clusters), cells)


def _cells_of(
    adata: AnnData, column: str, key: str, cluster: str, names: np.ndarray
) -> np.ndarray:
    """Return which cells are of a cluster: one that is there, one of the results, or one divided.

    Names are a user's own, so a part cannot be told by how its name begins.
    """
    if cluster in names:
        own: np.ndarray = names == cluster
        return own
    first = adata.obs[key].astype(str).to_numpy()
    if cluster in first:
        return np.asarray(first == cluster)
    own = np.zeros(len(names), dtype=bool)
    if column != key:
        splits = adata.uns[column]["splits"]
        n_parts = splits["n_clusters"][splits["cluster"].astype(str) == cluster]
        for number in range(int(n_parts.sum())):
            own |= _cells_of(adata, column, key, f"{cluster}{_SIGN}{number}", names)
    return own


def _listed(column: pd.Series, names: np.ndarray) -> str:
    """Return the names of the clusters that have cells, for a message."""
    there = set(names)
    return ", ".join(f"'{name}'" for name in _categories(column) if name in there)


def store_parts(
    adata: AnnData, column: str, base: str, which: Divided, fitted: Fitted, key: str
) -> None:
    """Write the clusters, with the cells of some divided into the clusters of a fit.

    Parameters
    ----------
    adata
        All cells.
    column
        Column of ``obs`` to write.
    base
        Column with the clusters so far, which may be the same.
    which
        What was divided.
    fitted
        The fit to its cells, in their order.
    key
        Name of the results that the clusters were first from.
    """
    found = fitted.partition
    names = adata.obs[base].astype(object).to_numpy(copy=True)
    categories, colours = _categories(adata.obs[base]), _colours(adata, base)
    there = set(names[which.cells])
    replaced = [name for name in categories if name in there]
    parts = [f"{which.name}{_SIGN}{number}" for number in range(found.n_clusters)]
    if len(parts) == 1:  # not divided; clusters that were looked at together stay apart
        parts = [] if _AND in which.name and which.name not in replaced else [which.name]
    if parts:
        names[which.cells] = np.array(parts, dtype=object)[found.labels]
        colours = {parts[0]: colours.get(replaced[0], "")} | colours
        before = categories[: categories.index(replaced[0])]
        after = [name for name in categories if name not in {*parts, *before}]
        categories = [*(name for name in before if name not in parts), *parts, *after]
    left = set(names)
    categories = [name for name in categories if name in left]
    confidence = adata.obs[confidence_name(base)].to_numpy(copy=True)
    confidence[which.cells] = found.confidence
    stored = _described(adata.uns.get(column), which, fitted, _mark(adata, key), key)
    stored["evidence"] = stored["evidence"][stored["evidence"]["cluster"].isin(categories)]
    adata.obs[column] = pd.Categorical(names, categories=categories)
    adata.obs[confidence_name(column)] = confidence
    adata.uns[colours_name(column)] = added_colours(colours, categories)
    adata.uns[column] = stored


def _described(
    before: Mapping[str, Any] | None, which: Divided, fitted: Fitted, mark: int, key: str
) -> dict[str, Any]:
    """Return what ``uns`` holds of divided clusters: where they are from, and their evidence."""
    found, start = fitted.partition, which.name + _SIGN
    split = {
        "cluster": which.name,
        "n_cells": len(found.labels),
        "n_clusters": found.n_clusters,
        "n_considered": found.n_considered,
        "resolution": found.resolution,
        "seed": fitted.settings.seed,
    }
    splits, evidence = pd.DataFrame([split]), fitted.evidence
    for name in ("cluster", "nearest"):
        evidence = evidence.assign(**{name: start + evidence[name].astype(str)})
    evidence = evidence if found.n_clusters > 1 else evidence[:0]
    if before is not None:
        splits = pd.concat([_without(before["splits"], which.name), splits], ignore_index=True)
        earlier = before["evidence"]
        earlier = earlier[~earlier["cluster"].isin(evidence["cluster"])]
        evidence = pd.concat([earlier, evidence], ignore_index=True)
    return {
        "version": __version__,
        "key": key,
        "clusters": mark,
        "splits": splits,
        "evidence": evidence,
    }


def _without(splits: pd.DataFrame, cluster: str) -> pd.DataFrame:
    """Return the splits that are not of a cluster or its parts.

    Names are a user's own, so a part cannot be told by how its name begins.
    """
    names, gone, waiting = splits["cluster"].astype(str), {cluster}, [cluster]
    while waiting:
        parent = waiting.pop()
        for n_parts in splits["n_clusters"][names == parent]:
            if n_parts > 1:
                parts = {f"{parent}{_SIGN}{number}" for number in range(int(n_parts))}
                waiting += parts & set(names) - gone
                gone |= parts
    return splits[~names.isin(gone)]


def _categories(column: pd.Series) -> list[str]:
    """Return the names of the clusters in a column, in order."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(name) for name in column.cat.categories]
    return sorted(map(str, column.dropna().unique()))


def _colours(adata: AnnData, column: str) -> dict[str, str]:
    """Return the colour of each cluster in a column, by its name."""
    names, given = _categories(adata.obs[column]), adata.uns.get(colours_name(column), ())
    return dict(zip(names, map(str, given), strict=True)) if len(given) == len(names) else {}


def _mark(adata: AnnData, key: str) -> int:
    """Return a number by which the clusters of stored results are recognised."""
    of_anchors = np.asarray(adata.uns[key]["anchor_clusters"], dtype=np.int64)
    return zlib.crc32(of_anchors.tobytes())


def _is_ours(stored: object) -> bool:
    """Tell whether an entry of ``uns`` is of divided clusters."""
    return isinstance(stored, Mapping) and {"clusters", "splits", "evidence"} <= set(stored)
