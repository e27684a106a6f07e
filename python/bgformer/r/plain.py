"""What goes to R and comes from it, as plain things.

That is numbers, strings, lists, dictionaries and arrays of these only, because older versions of
reticulate cannot convert anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from bgformer._version import __version__
from bgformer.graph.evidence import Profiles
from bgformer.runtime.devices import pick_device
from bgformer.store import persistence
from bgformer.store.looks import Looks, new_looks
from bgformer.store.state import from_state, to_state

if TYPE_CHECKING:
    from bgformer.graph.communities import Partition
    from bgformer.pipeline.fitted import Fitted

HELD = "this object"
"""Where R's models are, for messages."""
_HELD_BY_R = ("latent", "weights.data", "weights.indices", "weights.indptr")
"""Of the cells, and stored in R's own objects beside the model ..."""
_SET_BY_R = ("anchor_clusters", "anchor_support", "nearest", "links")
"""... as are these, which change when R clusters again."""


def results(
    model: Fitted, *, batch_key: str | None = None, looks: Looks | None = None
) -> dict[str, Any]:
    """Return all that R keeps of a fitted model, as plain things.

    Parameters
    ----------
    model
        Fitted.
    batch_key
        As given to the fit; noted among the parameters.
    looks
        Names and colours of the clusters; None if nobody has chosen any.

    Returns
    -------
    ``labels`` (n,), codes into ``levels`` (strings), ``names`` and ``colours`` of these,
    ``confidence`` (n,), ``embedding`` (n x n_latent), ``weights`` (CSC parts of the n x m
    matrix), ``anchors`` (m x n_latent), ``anchor_clusters`` (m,), ``anchor_support`` (m,),
    ``genes``, ``history``, ``params``, ``version``, ``seed``, ``resolution``, ``nearest`` (k,),
    ``links`` (k,), ``n_considered``, ``evidence`` (columns of a table, see
    :func:`bgformer.graph.evidence.evidence`), of new cells also ``outlier`` and ``unassigned``
    (n,), and ``model`` (bytes: what `bridge.predict` and
    `bridge.save` need besides).
    """
    params = model.settings.described() | {"batch_key": batch_key}
    tensors, description = to_state(model)
    for name in (*_HELD_BY_R, *_SET_BY_R):
        del tensors[name]
    return {
        "embedding": np.asarray(model.latent, dtype=np.float64),
        "weights": by_anchor(model.weights),
        "anchors": np.asarray(model.anchors, dtype=np.float64),
        "genes": [str(gene) for gene in model.genes],
        "history": {
            term: np.asarray(values, dtype=np.float64) for term, values in model.history.items()
        },
        "params": {name: value for name, value in params.items() if value is not None},
        "version": __version__,
        "seed": model.settings.seed,
        # reticulate makes R's bytes of a bytearray alone
        "model": bytearray(persistence.packed(tensors, description)),
        **clusters(model.partition, model.evidence, looks),
    }


def clusters(found: Partition, table: pd.DataFrame, looks: Looks | None = None) -> dict[str, Any]:
    """Return a partition as plain things."""
    looks = new_looks(found.n_clusters) if looks is None else looks
    return {
        "labels": found.labels.astype(np.int32),
        "levels": found.names,
        "names": looks.names,
        "colours": looks.colours,
        "confidence": np.asarray(found.confidence, dtype=np.float64),
        "anchor_clusters": found.anchor_clusters.astype(np.int32),
        "anchor_support": np.asarray(found.anchor_support, dtype=np.float64),
        "resolution": float(found.resolution),
        "nearest": np.asarray(found.nearest, dtype=np.int32),
        "links": np.asarray(found.links, dtype=np.float64),
        "n_considered": int(found.n_considered),
        **_new_cells(found),
        "evidence": columns_of(table),
    }


def looks_of(given: dict[str, Any]) -> Looks:
    """Return the looks that R holds, as arrays or, of one cluster, as single strings."""
    names, colours = (list(map(str, np.atleast_1d(given[n]))) for n in ("names", "colours"))
    return Looks(names, colours)


def _new_cells(found: Partition) -> dict[str, Any]:
    """Return what is known of new cells, and not of those of the fit."""
    return {
        name: np.asarray(values, dtype=np.float64)
        for name, values in (("outlier", found.outlier), ("unassigned", found.unassigned))
        if values is not None
    }


def columns_of(table: pd.DataFrame) -> dict[str, list[str] | np.ndarray]:
    """Return a table as plain things."""
    return {name: _column(table[name]) for name in table}


def _column(values: pd.Series) -> list[str] | np.ndarray:
    """Return a column of a table as what every version of reticulate converts."""
    if values.dtype == object or not pd.api.types.is_numeric_dtype(values):
        return [str(value) for value in values]
    return values.to_numpy(dtype=np.float64)


def by_anchor(weights: sparse.csr_matrix) -> dict[str, Any]:
    """Return the parts of R's dgCMatrix, n x m."""
    columns = sparse.csc_matrix(weights)
    columns.sort_indices()
    return {
        "data": columns.data.astype(np.float64),
        "indices": columns.indices.astype(np.int32),
        "indptr": columns.indptr.astype(np.int32),
        "shape": list(columns.shape),
    }


def weights_of(parts: dict[str, Any]) -> sparse.csr_matrix:
    """Return the weights that R holds by anchor as CSR n x m."""
    columns = sparse.csc_matrix(
        (parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"])
    )
    return columns.tocsr()


def unpacked(model: Any, n_anchors: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Unpack the model that R holds, which must have as many anchors as all else that R holds."""
    tensors, description = persistence.unpacked(bytes(model), HELD)
    with persistence.damage_reported(HELD):
        found = len(tensors["anchors"])
        if found != n_anchors:
            raise ValueError(f"it has {found} anchors, and what is stored with it {n_anchors}")
    return tensors, description


class Held(NamedTuple):
    """What is needed of a model to cluster again: held-out counts, genes, and a setting."""

    out: Profiles
    genes: np.ndarray
    min_cells: int


def held_in(model: Any, n_anchors: int) -> Held:
    """Return what is needed of the model that R holds to cluster its anchors again."""
    tensors, description = unpacked(model, n_anchors)
    with persistence.damage_reported(HELD):
        arrays = persistence.section(tensors, "profiles").items()
        return Held(
            Profiles(**{name: array.numpy() for name, array in arrays}),
            np.array(description["genes"], dtype=str),
            description["settings"]["min_cells"],
        )


def model_of(fitted: dict[str, Any], device: str = "auto") -> Fitted:
    """Make the model again that R holds, without its cells."""
    pick_device(device)  # a wrong one is not the object's fault
    n_anchors = np.size(fitted["anchor_clusters"])
    tensors, description = unpacked(fitted["model"], n_anchors)
    n_latent = tensors["anchors"].shape[1]
    no_cells = sparse.csr_matrix((0, n_anchors))
    arrays = {  # copies, because R's own memory is not writable
        "latent": np.empty((0, n_latent), dtype=np.float32),
        "weights.data": no_cells.data,
        "weights.indices": no_cells.indices,
        "weights.indptr": no_cells.indptr,
        "anchor_clusters": np.array(fitted["anchor_clusters"], dtype=np.int32),
        "anchor_support": np.array(fitted["anchor_support"], dtype=np.float64),
        "nearest": np.array(np.atleast_1d(fitted["nearest"]), dtype=np.int64),
        "links": np.array(np.atleast_1d(fitted["links"]), dtype=np.float64),
    }
    resolution = fitted["resolution"]
    with persistence.damage_reported(HELD):
        return from_state(
            tensors | {name: torch.from_numpy(array) for name, array in arrays.items()},
            description
            | {
                "resolution": None if np.isnan(resolution) else resolution,
                "n_considered": int(fitted["n_considered"]),
            },
            device=device,
        )
