"""What results consist of, and where they may be written, in AnnData and in files alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from bgformer._version import __version__
from bgformer.graph.evidence import Profiles, evidence, of_some
from bgformer.messages import InputError
from bgformer.network.heads import LEAST_LATENT
from bgformer.store.identity import any_known, fingerprints
from bgformer.store.looks import UNASSIGNED, Looks, colours_name, new_looks
from bgformer.store.naming import check_name, foreign, outlier_name, renamed
from bgformer.store.state import model_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bgformer.data.source import StoredCells
    from bgformer.graph.communities import Partition
    from bgformer.pipeline.fitted import Fitted

_OF_ANY_VERSION = ("anchors", "anchor_clusters", "genes", "params", "seed", "version")
"""What ``uns`` has held of results in every version."""
_ROUNDING = 1e-5
"""How far outside 0 to 1 rounding takes a confidence."""


def confidence_name(key: str) -> str:
    """Return the column of ``obs`` with the confidence in the clusters `key`."""
    return f"{key}_confidence"


def latent_name(key: str) -> str:
    """Return the place of the latent in ``obsm``."""
    return f"X_{key}"


def weights_name(key: str) -> str:
    """Return the place of the weights on the anchors in ``obsm``."""
    return f"{key}_anchors"


def umap_name(key: str) -> str:
    """Return the place in ``obsm`` of a UMAP that was drawn from the latent."""
    return f"X_{key}_umap"


def columns(
    key: str, found: Partition, looks: Looks | None = None, called: np.ndarray | None = None
) -> dict[str, pd.Categorical | np.ndarray]:
    """Return the columns of ``obs``: cluster, confidence and, of new cells, score.

    Unassigned cells have the names in `called`, shape (n,); None calls them `UNASSIGNED`.
    """
    looks = new_looks(found.n_clusters) if looks is None else looks
    scores = {} if found.outlier is None else {outlier_name(key): found.outlier}
    return {
        key: looks.column(found.labels, found.unassigned, called),
        confidence_name(key): found.confidence,
        **scores,
    }


def described(
    fitted: Fitted,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    predicted: bool = False,
    looks: Looks | None = None,
) -> dict[str, Any]:
    """Return what goes into ``uns``; see :func:`bgformer.tl.cluster`.

    Parameters
    ----------
    fitted
        The model.
    layer, batch_key
        As given to the fit.
    predicted
        Whether the model was fitted to other cells, and then given these.
    looks
        What the clusters are called; None if nobody has named them.
    """
    params = fitted.settings.described() | {"layer": layer, "batch_key": batch_key}
    return {
        "params": {name: value for name, value in params.items() if value is not None},
        "version": __version__,
        "seed": fitted.settings.seed,
        "history": fitted.history,
        "anchors": fitted.anchors,
        "links": fitted.links,
        "genes": fitted.genes.astype(object),
        "n_cells": fitted.latent.shape[0],
        "cells": fingerprints(fitted.latent),
        "predicted": predicted,
        "profiles": fitted.profiles._asdict(),
        "model": model_bytes(fitted),
        **described_clusters(fitted.partition, fitted.evidence, looks),
    }


def described_clusters(
    found: Partition, table: pd.DataFrame, looks: Looks | None = None
) -> dict[str, Any]:
    """Return what ``uns`` holds of the clusters; names are those that bgformer gave them."""
    names = found.names if looks is None else looks.names
    return {
        "names": np.array(names, dtype=object),
        "anchor_clusters": np.asarray(found.anchor_clusters),
        "anchor_support": np.asarray(found.anchor_support),
        "resolution": found.resolution,
        "n_clusters": found.n_clusters,
        "n_considered": found.n_considered,
        "evidence": table,
    }


def store(
    adata: AnnData,
    fitted: Fitted,
    key: str,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    predicted: bool = False,
    looks: Looks | None = None,
) -> None:
    """Add the results of a model to its cells, in their order; see `described` and `columns`."""
    adata.obsm[latent_name(key)] = fitted.latent
    adata.obsm[weights_name(key)] = fitted.weights
    drawn = adata.obsm.pop(umap_name(key), None)  # from an earlier latent
    if drawn is not None and np.array_equal(drawn, adata.obsm.get("X_umap", ())):
        del adata.obsm["X_umap"]  # a copy of it, for scanpy
    if fitted.partition.outlier is None:
        adata.obs = adata.obs.drop(columns=outlier_name(key), errors="ignore")
    adata.uns[key] = described(
        fitted, layer=layer, batch_key=batch_key, predicted=predicted, looks=looks
    )
    label(adata, key, fitted.partition, looks or new_looks(fitted.partition.n_clusters))


def store_clusters(
    adata: AnnData, key: str, found: Partition, looks: Looks, called: np.ndarray | None = None
) -> None:
    """Put other clusters in the place of those of stored results; see `columns`."""
    stored = adata.uns[key]
    table = evidence(found, held_out_of(adata, key, stored), np.asarray(stored["genes"]))
    stored.update(described_clusters(found, table))  # names are the user's own from now on
    label(adata, key, found, looks, called)


def held_out_of(adata: AnnData, key: str, stored: Mapping[str, Any]) -> Profiles:
    """Return the held-out counts that evidence for clusters of these cells is computed from."""
    held_out = Profiles(**stored["profiles"])
    if adata.n_obs < stored["n_cells"]:
        return of_some(held_out, sparse.csr_matrix(adata.obsm[weights_name(key)]))
    return held_out


def label(
    adata: AnnData, key: str, found: Partition, looks: Looks, called: np.ndarray | None = None
) -> None:
    """Write `columns` into ``obs``, and the colours of the clusters into ``uns``."""
    for name, values in columns(key, found, looks, called).items():
        adata.obs[name] = values
    adata.uns[colours_name(key)] = looks.colours_of(adata.obs[key].cat)


def check_storable(adata: AnnData) -> None:
    """Raise unless `adata` is an AnnData that can take results."""
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData.")
    if adata.isbacked and adata.is_view:
        raise InputError(
            "view-of-a-file",
            "adata is a part of a backed AnnData, which cannot take results; give "
            "adata.to_memory().",
        )


def copy_of(adata: AnnData) -> AnnData:
    """Return a copy in memory; AnnData can copy a backed object only to another file."""
    return adata.to_memory() if adata.isbacked else adata.copy()


def check_key(cells: AnnData | StoredCells, key: str) -> None:
    """Raise InputError unless results may be stored under this name, covering nothing else.

    What is there must have been stored by bgformer as results of this name, and still look like
    it.

    Parameters
    ----------
    cells
        Where they will be stored.
    key
        The name, given as `key_added`.
    """
    check_name(cells, key, "key_added", "the results")
    uns = cells.uns
    stored = uns.get(key)
    names = stored.get("names", ()) if isinstance(stored, Mapping) else ()
    looks_ours: dict[tuple[str, str], Callable[[Any], bool]] = {
        ("obs", key): lambda there: _are_clusters(there, names),
        ("obs", confidence_name(key)): _is_confidence,
        ("obsm", latent_name(key)): lambda there: _is_latent(there, stored),
        ("obsm", weights_name(key)): _are_weights,
    }
    # anndata.concat keeps what cells have of earlier results, and drops what is in uns
    is_ours = _is_of_any_version(stored) or (
        key not in uns and all(name in getattr(cells, place) for place, name in looks_ours)
    )
    looks_ours["obsm", umap_name(key)] = is_plane
    looks_ours["obs", outlier_name(key)] = _is_confidence
    for (place, name), looks in looks_ours.items():
        if name in getattr(cells, place):
            if not is_ours:
                _refuse_if_reclustered(cells, key)
            if not (is_ours and looks(getattr(cells, place)[name])):
                is_changed = is_ours and key in uns and (place, name) == ("obs", key)
                raise renamed(key) if is_changed else foreign(place, name, "key_added")
    if key in uns and not is_ours:
        raise foreign("uns", key, "key_added")


def _refuse_if_reclustered(cells: AnnData | StoredCells, name: str) -> None:
    """Raise InputError if a column is one that `recluster` added beside stored results."""
    if name not in cells.uns and _is_pair(cells, name):
        raise InputError(
            "name-of-clusters",
            "{name[key_added]} is '{given}', which names clusters that "
            "{name[bgformer.tl.recluster]} added; choose another, or remove the columns "
            "'{given}' and '{confidence}' of {name[adata.obs]}.",
            given=name,
            confidence=confidence_name(name),
        )


def check_confidence(adata: AnnData, key: str) -> None:
    """Raise InputError if the confidence of stored results is no longer one."""
    confidence = confidence_name(key)
    if confidence in adata.obs and not _is_confidence(adata.obs[confidence]):
        raise InputError(
            "changed-clusters",
            "the column '{given}' in {name[adata.obs]} has been changed since, and would be "
            "overwritten; give {name[cluster_name]}, the name of another column.",
            given=confidence,
        )


def _is_pair(cells: AnnData | StoredCells, name: str) -> bool:
    """Tell whether ``obs`` has clusters of this name, with the confidence in them."""
    obs, confidence = cells.obs, confidence_name(name)
    return (
        name in obs
        and confidence in obs
        and _are_clusters(obs[name])
        and _is_confidence(obs[confidence])
    )


def _are_clusters(column: pd.Series, names: Iterable[str] = ()) -> bool:
    """Tell whether a column holds numbers of clusters as text, or these names, not a user's."""
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    there = column.cat.categories if is_categorical else column.dropna().unique()
    known = {*names, UNASSIGNED}
    return all(isinstance(name, str) and (name.isdecimal() or name in known) for name in there)


def _is_confidence(column: pd.Series) -> bool:
    """Tell whether a column holds numbers from 0 to 1."""
    is_number = pd.api.types.is_float_dtype(column.dtype)
    return is_number and bool(column.dropna().between(-_ROUNDING, 1 + _ROUNDING).all())


def _is_latent(there: Any, stored: Any) -> bool:
    """Tell whether an entry of ``obsm`` holds a latent: of the stored fit, if that is known."""
    is_matrix = _is_matrix(there) and there.shape[1] >= LEAST_LATENT
    cells = stored.get("cells") if _is_of_any_version(stored) else None
    return is_matrix and (cells is None or any_known(there, np.asarray(cells)))


def _are_weights(there: Any) -> bool:
    """Tell whether an entry of ``obsm`` is a sparse matrix, in memory or in a file."""
    attributes = getattr(there, "attrs", {})
    kind = attributes.get("encoding-type") if hasattr(attributes, "get") else None
    return sparse.issparse(there) or kind in ("csr_matrix", "csc_matrix")


def is_plane(there: Any) -> bool:
    """Tell whether an entry of ``obsm`` holds two coordinates."""
    return _is_matrix(there) and there.shape[1] == 2


def _is_matrix(there: Any) -> bool:
    """Tell whether an entry of ``obsm`` is a matrix of numbers, in memory or in a file."""
    dtype = getattr(there, "dtype", None)
    return len(getattr(there, "shape", ())) == 2 and getattr(dtype, "kind", None) == "f"


def _is_of_any_version(stored: object) -> bool:
    """Tell whether an entry of ``uns`` holds results, be it of a version that is not read now."""
    return isinstance(stored, Mapping) and all(name in stored for name in _OF_ANY_VERSION)


def check_column(adata: AnnData, name: str) -> None:
    """Raise unless clusters may be stored in this column; its own confidence shows it is ours."""
    check_name(adata, name, "cluster_name", "a column")
    if name in adata.uns and _is_of_any_version(adata.uns[name]):
        raise InputError(
            "name-of-results",
            "{name[cluster_name]} is '{given}', the name of other results of bgformer; choose "
            "another, or give {name[key_added]}='{given}' to replace the clusters of these.",
            given=name,
        )
    there = [column for column in (name, confidence_name(name)) if column in adata.obs]
    if there and not _is_pair(adata, name):
        raise foreign("obs", there[0], "cluster_name")
