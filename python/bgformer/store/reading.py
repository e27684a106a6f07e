"""Stored results, read only if they are whole and of the cells that they are with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.arguments import flag, positive, whole
from bgformer.graph.evidence import Profiles
from bgformer.messages import InputError
from bgformer.pipeline.settings import Settings
from bgformer.store.identity import fingerprints, n_foreign
from bgformer.store.results import latent_name, weights_name
from bgformer.store.soundness import check_clusters, check_profiles

if TYPE_CHECKING:
    from anndata import AnnData

_PARTS = ("anchors", "anchor_clusters", "cells", "links", "params", "profiles", "version")
"""What ``uns`` must hold for results to be read."""
_DAMAGE = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What a part of another kind has been seen to raise."""
_SUM = 1e-3
"""Largest difference from 1 of the sum of a cell's weights."""


def results(adata: AnnData, key: str = "bgformer") -> dict[str, Any]:
    """Return ``uns[key]``, what :func:`bgformer.tl.cluster` stored under this name.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    ValueError
        If `adata` has no results under this name, or those of other cells or of an earlier
        version, or they are damaged.
    """
    if not hasattr(adata, "uns"):
        raise TypeError(f"adata is a {type(adata).__name__}; give an AnnData.")
    return results_of(adata, key, "adata")


def results_of(adata: AnnData, key: str, name: str) -> dict[str, Any]:
    """Return what `results` returns; `name` is the argument that is meant, for messages."""
    called, again = f"{{name[{name}]}}", f"run {{name[bgformer.tl.cluster({name})]}}"
    if not isinstance(key, str) or key not in adata.uns:
        raise InputError(
            "no-results",
            f"{called} has no results named {{key!r}}; {again} first.",
            key=key,
        )
    stored = adata.uns[key]
    if isinstance(stored, Mapping) and "splits" in stored:
        raise InputError(
            "subclusters",
            f"{{name[{name}.uns]}}['{{key}}'] describes subclusters, which have no anchors of "
            "their own; give the name of the results that they are from.",
            key=key,
        )
    if not is_ours(stored):
        raise InputError(
            "foreign-results",
            f"{{name[{name}.uns]}}['{{key}}'] is not from bgformer, or from an earlier version; "
            f"{again} with another {{name[key_added]}}.",
            key=key,
        )
    for place, part in (("obs", key), ("obsm", latent_name(key)), ("obsm", weights_name(key))):
        if part not in getattr(adata, place):
            raise InputError(
                "missing-results",
                f"{{name[{name}.{place}]}}['{{part}}'], part of the results named '{{key}}', is "
                f"missing; {again} again.",
                part=part,
                key=key,
            )
    if adata.n_obs == 0:
        raise InputError("no-cells", f"{called} has no cells; choose some.")
    _check_whole(f"{{name[{name}.uns]}}['{key}']", damage(stored), again)
    latent, weights = adata.obsm[latent_name(key)], adata.obsm[weights_name(key)]
    damaged = _damage_of(_check_latent, latent)
    _check_whole(f"{{name[{name}.obsm]}}['{latent_name(key)}']", damaged, again)
    _check_cells(adata, key, stored, again)
    damaged = _damage_of(_check_weights, weights)
    _check_whole(f"{{name[{name}.obsm]}}['{weights_name(key)}']", damaged, again)
    return stored


def is_ours(stored: object) -> bool:
    """Tell whether an entry of ``uns`` holds results of this version's kind."""
    return isinstance(stored, Mapping) and all(name in stored for name in _PARTS)


def is_predicted(stored: Mapping[str, Any]) -> bool:
    """Tell whether results are of cells that a model of other cells was given.

    Files of earlier versions do not say so; their results are taken for those of a fit.
    """
    return flag("predicted", stored.get("predicted", False))


def damage(stored: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an entry of ``uns`` that is ours; None if it is whole."""
    return _damage_of(_check_parts, stored)


def _damage_of(check: Any, part: Any) -> str | None:
    """Return why a part does not pass a check; None if it does."""
    try:
        check(part)
    except KeyError as error:
        return f"{error} is missing"
    except _DAMAGE as error:
        return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return None


def _check_whole(where: str, reason: str | None, again: str) -> None:
    """Raise if something is wrong with a part of the results."""
    if reason:
        raise InputError(
            "damaged-results",
            f"{where} is damaged ({{reason}}); {again} again.",
            reason=reason,
        )


def _check_parts(stored: Mapping[str, Any]) -> None:
    """Raise if what `results.described` made of a fit has changed since."""
    params = {name: value for name, value in stored["params"].items()}
    for name in ("layer", "batch_key"):
        if not isinstance(params.pop(name, ""), str):
            raise ValueError(f"'{name}' is not a name")
    for name in set(Settings.__dataclass_fields__) - {"resolution"}:
        params[name]  # all others are stored, and a default would not be what was used
    Settings.of(params)
    whole("seed", stored["seed"], least=0)
    if not np.isnan(stored["resolution"]):
        positive("resolution", stored["resolution"])
    anchors = np.asarray(stored["anchors"])
    m, width = anchors.shape
    if anchors.dtype.kind != "f" or not np.isfinite(anchors).all():
        raise ValueError("'anchors' are not finite numbers")
    n_clusters = check_clusters(np.asarray(stored["anchor_clusters"]), m)
    if whole("n_clusters", stored["n_clusters"]) != n_clusters:
        raise ValueError(f"'n_clusters' is {stored['n_clusters']}, but there are {n_clusters}")
    whole("n_considered", stored["n_considered"])
    if len(stored.get("names", range(n_clusters))) != n_clusters:
        raise ValueError(f"'names' are not those of {n_clusters} clusters")
    is_predicted(stored)
    if not sparse.issparse(stored["links"]) or stored["links"].shape != (m, m):
        raise ValueError(f"'links' is not a sparse matrix of {m} x {m} anchors")
    genes, cells = np.asarray(stored["genes"]), np.asarray(stored["cells"])
    if genes.ndim != 1 or not all(isinstance(gene, str) for gene in genes):
        raise ValueError("'genes' are not names")
    if cells.shape != (whole("n_cells", stored["n_cells"]),) or cells.dtype != np.uint64:
        raise ValueError(f"'cells' are not the fingerprints of {stored['n_cells']} cells")
    held_out = {name: np.asarray(stored["profiles"][name]) for name in Profiles._fields}
    check_profiles(held_out, m, width, len(genes))
    if not isinstance(stored["evidence"], pd.DataFrame) or len(stored["evidence"]) != n_clusters:
        raise ValueError(f"'evidence' is not a table of {n_clusters} clusters")
    for name in ("step", "loss"):
        np.asarray(stored["history"][name], dtype=np.float64)


def _check_latent(latent: Any) -> None:
    """Raise unless a latent is a matrix of finite numbers."""
    if latent.ndim != 2 or latent.dtype.kind != "f" or not np.isfinite(latent).all():
        raise ValueError("these are not finite numbers, cells x latent dimensions")


def _check_weights(weights: Any) -> None:
    """Raise unless every cell has weights on anchors that sum to 1."""
    sums = np.asarray(sparse.csr_matrix(weights).sum(axis=1)).ravel()
    if not (np.abs(sums - 1) < _SUM).all():
        raise ValueError("the weights of a cell on the anchors do not sum to 1")


def _check_cells(adata: AnnData, key: str, stored: dict[str, Any], again: str) -> None:
    """Raise unless all cells are of the fit that the results are of."""
    foreign = adata.n_obs
    latent, weights = adata.obsm[latent_name(key)], adata.obsm[weights_name(key)]
    m, width = np.asarray(stored["anchors"]).shape
    if weights.shape[1] == m and latent.shape[1] == width:
        foreign = n_foreign(fingerprints(latent), np.asarray(stored["cells"]))
    if foreign or adata.n_obs > stored["n_cells"]:
        which = f"{foreign} of {adata.n_obs} cells" if foreign else "some cells"
        raise InputError(
            "other-cells",
            "{which} are of another fit than the results named '{key}', or there twice, as after "
            f"anndata.concat; {again} again.",
            which=which,
            key=key,
        )
