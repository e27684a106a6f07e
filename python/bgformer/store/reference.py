"""The model that stored results hold, by which other cells are given their clusters.

``uns`` holds as bytes what results do not hold otherwise: the network, the anchors that it was
trained with, and the description of the fit.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from bgformer.messages import InputError
from bgformer.runtime.devices import pick_device
from bgformer.store.looks import looks_of, names_of
from bgformer.store.persistence import damage_reported, unpacked
from bgformer.store.reading import results_of
from bgformer.store.results import latent_name, weights_name
from bgformer.store.state import from_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from bgformer.pipeline.fitted import Fitted
    from bgformer.store.looks import Looks


def reference_in(
    adata: AnnData, key: str, device: str, name: str = "reference"
) -> tuple[Fitted, Looks]:
    """Return the model of stored results, without cells, and the looks of its clusters.

    Clusters are those that the results have now; names and colours are those that the cells have.

    Parameters
    ----------
    adata
        Cells with results.
    key
        Name of the results.
    device
        "auto" or the name of a torch device.
    name
        The argument that is meant, for messages.

    Raises
    ------
    InputError
        If there are no results of this name, they are not of these cells, or they hold no model or
        a damaged one.
    """
    pick_device(device)  # otherwise a bad device would be reported as a damaged model
    stored = results_of(adata, key, name)
    weights = adata.obsm[weights_name(key)]
    if names_of(adata.obs, key, stored, weights) is None:
        warnings.warn(
            f"cells of one cluster have different names in {name}.obs['{key}'], so the clusters "
            "have their numbers.",
            stacklevel=3,
        )
    looks = looks_of(adata, key, stored, weights)
    return _model_in(stored, key, device, name), looks


def model_in(adata: AnnData, key: str, device: str = "auto") -> Fitted:
    """Return the model of stored results, without cells; see `reference_in`."""
    pick_device(device)
    return _model_in(results_of(adata, key, "adata"), key, device, "adata")


def _model_in(stored: Mapping[str, Any], key: str, device: str, name: str) -> Fitted:
    """Return the model that an entry of ``uns`` holds."""
    if "model" not in stored:
        raise InputError(
            "no-model",
            "the results named '{key}' hold no model, because an earlier version stored them; run "
            f"{{name[bgformer.tl.cluster({name})]}} again.",
            key=key,
        )
    where = f"{name}.uns['{key}']"
    with damage_reported(where):
        model = np.asarray(stored["model"], dtype=np.uint8).tobytes()
    tensors, description = unpacked(model, where)
    with damage_reported(where):
        if not np.array_equal(tensors["anchors"].numpy(), stored["anchors"]):
            raise ValueError("it is of another fit than the anchors beside it")
        resolution = float(stored["resolution"])
        description |= {
            "resolution": None if np.isnan(resolution) else resolution,
            "n_considered": int(stored["n_considered"]),
        }
        return from_state(tensors | _beside(stored), description, device=device)


def with_own_cells(fitted: Fitted, adata: AnnData, key: str) -> Fitted:
    """Return the model of stored results with their cells."""
    latent = np.asarray(adata.obsm[latent_name(key)], dtype=np.float32)
    return fitted.with_cells(latent, sparse.csr_matrix(adata.obsm[weights_name(key)]))


def _beside(stored: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors that results hold beside the model, of no cells."""
    m, n_latent = np.asarray(stored["anchors"]).shape
    nothing = sparse.csr_matrix((0, m))
    table = stored["evidence"]
    arrays: dict[str, Any] = {
        "latent": np.empty((0, n_latent), dtype=np.float32),
        "anchor_clusters": stored["anchor_clusters"],
        "anchor_support": stored["anchor_support"],
        "nearest": table["nearest"].astype(np.int64),
        "links": table["links"].astype(np.float64),
        **{f"weights.{part}": getattr(nothing, part) for part in ("data", "indices", "indptr")},
        **{f"history.{name}": values for name, values in stored["history"].items()},
        **{f"profiles.{name}": values for name, values in stored["profiles"].items()},
    }
    # copies, because what is read from a file may not be writable
    return {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
