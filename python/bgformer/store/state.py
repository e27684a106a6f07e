"""A fitted model as tensors and a description, which files and R keep, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse

from bgformer._version import __version__
from bgformer.graph.communities import Partition
from bgformer.graph.evidence import Profiles
from bgformer.network.anchor_weights import weights_from_parts
from bgformer.network.network import Network
from bgformer.pipeline.fitted import Fitted
from bgformer.pipeline.settings import Settings
from bgformer.runtime.devices import pick_device
from bgformer.store.looks import Looks, new_looks
from bgformer.store.persistence import packed, section
from bgformer.store.soundness import check_state


def to_state(
    fitted: Fitted, looks: Looks | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return all that `from_state` makes a model from again: tensors, and a description.

    The description also holds names and colours of the clusters, if any are given.
    """
    found = fitted.partition
    weights = fitted.weights if sparse.issparse(fitted.weights) else fitted.weights.to_memory()
    arrays = {
        "latent": fitted.latent[:],
        "anchor_clusters": found.anchor_clusters,
        "anchor_support": found.anchor_support,
        "nearest": found.nearest,
        "links": found.links,
        "weights.data": weights.data,
        "weights.indices": weights.indices,
        "weights.indptr": weights.indptr,
    }
    arrays |= {f"history.{name}": values for name, values in fitted.history.items()}
    arrays |= {f"profiles.{k}": v for k, v in fitted.profiles._asdict().items()}
    tensors, description = _without_cells(fitted)
    tensors |= {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
    if looks is not None:
        description |= {"names": looks.names, "colours": looks.colours}
    return tensors, description


def _without_cells(fitted: Fitted) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the part of `to_state` that is neither of the cells nor of the clusters."""
    resolution = fitted.partition.resolution
    tensors = {f"network.{k}": v.cpu() for k, v in fitted.network.state_dict().items()}
    tensors["anchors"] = torch.from_numpy(np.ascontiguousarray(fitted.anchors))
    return tensors, {
        "version": __version__,
        "settings": fitted.settings.described(),
        "median_counts": fitted.median_counts,
        "n_considered": fitted.partition.n_considered,
        # nan, where the number of clusters was set, is not JSON
        "resolution": None if np.isnan(resolution) else resolution,
        "genes": fitted.genes.tolist(),
        "batches": fitted.batches,
    }


def looks_in(description: dict[str, Any], n_clusters: int) -> Looks:
    """Return names and colours of clusters from what `to_state` returned.

    Raises
    ------
    ValueError
        If there is not one of each for each cluster.
    """
    own = new_looks(n_clusters)
    looks = Looks(description.get("names", own.names), description.get("colours", own.colours))
    for name, given in (("names", looks.names), ("colours", looks.colours)):
        if len(given) != n_clusters or not all(isinstance(one, str) for one in given):
            raise ValueError(f"'{name}' are not {n_clusters} texts, one for each cluster")
    return looks


def model_bytes(fitted: Fitted) -> np.ndarray:
    """Return what results do not hold of a model otherwise, as uint8: see `reference`."""
    return np.frombuffer(packed(*_without_cells(fitted)), dtype=np.uint8).copy()


def from_state(
    tensors: dict[str, torch.Tensor], description: dict[str, Any], *, device: str = "auto"
) -> Fitted:
    """Make a model again from what `to_state` returned.

    Clusters keep the numbers they have, whichever cells are there.

    Raises
    ------
    ValueError
        If parts are not possible, or do not fit each other.
    """
    check_state(tensors, description)
    anchors = tensors["anchors"].numpy()
    network = Network.from_state(section(tensors, "network"), len(anchors))
    latent = tensors["latent"].numpy()
    data, indices, indptr = (
        tensors[f"weights.{part}"].numpy() for part in ("data", "indices", "indptr")
    )
    weights = weights_from_parts(data, indices, indptr, n_anchors=len(anchors))
    resolution = description["resolution"]
    found = Partition(
        labels=np.empty(0, dtype=np.int32),
        confidence=np.empty(0, dtype=np.float32),
        anchor_clusters=tensors["anchor_clusters"].numpy(),
        anchor_support=tensors["anchor_support"].numpy(),
        resolution=np.nan if resolution is None else resolution,
        nearest=tensors["nearest"].numpy(),
        links=tensors["links"].numpy(),
        n_considered=description["n_considered"],
    )
    without_cells = Fitted(
        settings=Settings.of(description["settings"] | {"device": device}),
        genes=np.array(description["genes"], dtype=str),
        batches=description["batches"],
        median_counts=description["median_counts"],
        network=network.to(pick_device(device)),
        history={name: values.numpy() for name, values in section(tensors, "history").items()},
        anchors=anchors,
        profiles=Profiles(*(tensors[f"profiles.{name}"].numpy() for name in Profiles._fields)),
        latent=latent[:0],
        weights=weights[:0],
        partition=found,
    )
    return without_cells.with_cells(latent, weights)
