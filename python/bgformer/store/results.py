"""What results consist of, where they may be written, and whether they are of these cells.

AnnData and files take results from here, so that the names, the contents and the guards are the
same whichever way they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer._version import __version__
from bgformer.graph.evidence import Profiles, evidence, of_some
from bgformer.messages import InputError
from bgformer.store.identity import fingerprints, n_foreign

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.source import StoredCells
    from bgformer.graph.communities import Partition
    from bgformer.pipeline.fitted import Fitted

_PARTS = ("anchors", "anchor_clusters", "cells", "links", "params", "profiles", "version")
"""What ``uns`` must hold for results to be read."""


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


def columns(key: str, found: Partition) -> dict[str, pd.Categorical | np.ndarray]:
    """Return the columns of ``obs``: the cluster of each cell, and the confidence in it."""
    return {
        key: pd.Categorical.from_codes(found.labels, categories=found.names),
        confidence_name(key): found.confidence,
    }


def described(
    fitted: Fitted, *, layer: str | None = None, batch_key: str | None = None
) -> dict[str, Any]:
    """Return what goes into ``uns``; see :func:`bgformer.tl.cluster`.

    Parameters
    ----------
    fitted
        The model.
    layer, batch_key
        As given to the fit.
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
        "profiles": fitted.profiles._asdict(),
        **described_clusters(fitted.partition, fitted.evidence),
    }


def described_clusters(found: Partition, table: pd.DataFrame) -> dict[str, Any]:
    """Return what ``uns`` holds of the clusters."""
    return {
        "anchor_clusters": np.asarray(found.anchor_clusters),
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
) -> None:
    """Add a model's results to the cells it was fitted to, in their order."""
    adata.obsm[latent_name(key)] = fitted.latent
    adata.obsm[weights_name(key)] = fitted.weights
    adata.obsm.pop(umap_name(key), None)  # drawn from an earlier latent
    adata.uns[key] = described(fitted, layer=layer, batch_key=batch_key)
    label(adata, key, fitted.partition)


def store_clusters(adata: AnnData, key: str, found: Partition) -> None:
    """Put other clusters in the place of those of stored results."""
    stored = adata.uns[key]
    held_out = Profiles(**stored["profiles"])
    if adata.n_obs < stored["n_cells"]:
        held_out = of_some(held_out, sparse.csr_matrix(adata.obsm[weights_name(key)]))
    table = evidence(found, held_out, np.asarray(stored["genes"]))
    stored.update(described_clusters(found, table))
    label(adata, key, found)


def label(adata: AnnData, key: str, found: Partition) -> None:
    """Write clusters and confidence into ``obs``."""
    for name, values in columns(key, found).items():
        adata.obs[name] = values


def results(adata: AnnData, key: str = "bgformer") -> dict[str, Any]:
    """Return ``uns[key]``, what :func:`bgformer.tl.cluster` stored under this name.

    Raises
    ------
    ValueError
        If `adata` has no results under this name, or those of other cells or of an earlier
        version.
    """
    if not hasattr(adata, "uns"):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData.")
    if key not in adata.uns:
        raise InputError(
            "no-results",
            "adata has no results named '{key}'; run bgformer.tl.cluster(adata) first.",
            key=key,
        )
    stored = adata.uns[key]
    if not is_ours(stored):
        raise InputError(
            "foreign-results",
            "adata.uns['{key}'] is not from bgformer, or from an earlier version; run "
            "bgformer.tl.cluster(adata) with another {name[key_added]}.",
            key=key,
        )
    for place, part in (("obs", key), ("obsm", latent_name(key)), ("obsm", weights_name(key))):
        if part not in getattr(adata, place):
            raise InputError(
                "missing-results",
                "adata.{place}['{part}'], part of the results named '{key}', is missing; run "
                "bgformer.tl.cluster(adata) again.",
                place=place,
                part=part,
                key=key,
            )
    if adata.n_obs == 0:
        raise InputError("no-cells", "adata has no cells; choose some.")
    _check_cells(adata, key, stored)
    return stored


def _check_cells(adata: AnnData, key: str, stored: dict[str, Any]) -> None:
    """Raise unless all cells are of the fit that the results are of."""
    foreign = adata.n_obs
    latent, weights = adata.obsm[latent_name(key)], adata.obsm[weights_name(key)]
    m, width = stored["anchors"].shape
    if weights.shape[1] == m and latent.shape[1] == width:
        foreign = n_foreign(fingerprints(latent), np.asarray(stored["cells"]))
    if foreign or adata.n_obs > stored["n_cells"]:
        which = f"{foreign} of {adata.n_obs} cells" if foreign else "some cells"
        raise InputError(
            "other-cells",
            "{which} are of another fit than the results named '{key}', or there twice, as after "
            "anndata.concat; run bgformer.tl.cluster(adata) again.",
            which=which,
            key=key,
        )


def is_ours(stored: object) -> bool:
    """Tell whether an entry of ``uns`` holds results of this version's kind."""
    return isinstance(stored, Mapping) and all(name in stored for name in _PARTS)


def check_key(cells: AnnData | StoredCells, key: str) -> None:
    """Raise InputError unless results may be stored under this name, covering nothing else.

    Parameters
    ----------
    cells
        Where they will be stored.
    key
        The name, given as `key_added`.
    """
    _check_name(cells, key, "key_added", "the results")
    if key in cells.uns and _is_of_any_version(cells.uns[key]):
        return
    names = [("obs", key), ("obs", confidence_name(key))]
    names += [("obsm", latent_name(key)), ("obsm", weights_name(key))]
    # anndata.concat keeps what cells have of earlier results, and drops what is in uns
    if key not in cells.uns and all(name in getattr(cells, place) for place, name in names):
        return
    names += [("obsm", umap_name(key)), ("uns", key)]
    taken = [(place, name) for place, name in names if name in getattr(cells, place)]
    if taken:
        raise foreign(*taken[0], "key_added")


def _check_name(cells: AnnData | StoredCells, name: str, argument: str, what: str) -> None:
    """Raise InputError for a name under which AnnData could not store a column."""
    if not isinstance(name, str) or not name:
        raise InputError(
            "wrong-value",
            f"{{name[{argument}]}} is {{given!r}}; give the name of {what} as a string.",
            given=name,
        )
    obs: Any = cells.obs
    index = obs.index_name if hasattr(obs, "index_name") else obs.index.name
    if "/" in name or name in (".", "..", "_index", index):
        raise InputError(
            "wrong-name",
            f"{{name[{argument}]}} is {{given!r}}, which cannot name a column of "
            "{name[adata.obs]} ('/', '.', '_index' and the name of its index cannot); choose "
            "another.",
            given=name,
        )


def _is_of_any_version(stored: object) -> bool:
    """Tell whether an entry of ``uns`` holds results, be it of a version that is not read now."""
    return isinstance(stored, Mapping) and "anchor_clusters" in stored


def check_column(adata: AnnData, name: str) -> None:
    """Raise unless clusters may be stored in this column; its own confidence shows it is ours."""
    _check_name(adata, name, "cluster_name", "a column")
    if name in adata.uns and _is_of_any_version(adata.uns[name]):
        raise InputError(
            "name-of-results",
            "{name[cluster_name]} is '{given}', the name of other results of bgformer; choose "
            "another, or give {name[key_added]}='{given}' to replace the clusters of these.",
            given=name,
        )
    there = [column for column in (name, confidence_name(name)) if column in adata.obs]
    if len(there) == 1:
        raise foreign("obs", there[0], "cluster_name")


def foreign(place: str, name: str, argument: str) -> InputError:
    """Return the error that something is there that bgformer did not write."""
    what = "a column" if place == "obs" else "an entry"
    return InputError(
        "not-ours",
        f"adata.{place} has {what} '{{there}}' that is not from bgformer and would be "
        f"overwritten; choose another {{name[{argument}]}}, or remove it.",
        there=name,
    )
