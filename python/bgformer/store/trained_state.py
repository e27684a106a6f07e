"""A trained model as arrays, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bgformer.graph.evidence import Profiles
from bgformer.network.network import Network
from bgformer.pipeline.settings import Settings
from bgformer.pipeline.training import Trained
from bgformer.runtime.devices import pick_device

if TYPE_CHECKING:
    from collections.abc import Mapping


def arrays_of(trained: Trained, description: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return all that `trained_of` makes a model from again.

    Parameters
    ----------
    trained
        The model.
    description
        What else to describe, of what JSON can hold.
    """
    described = description | {
        "settings": trained.settings.described(),
        "median_counts": trained.median_counts,
        "genes": trained.genes.tolist(),
        "batches": trained.batches,
    }
    arrays = {f"network.{k}": v.cpu().numpy() for k, v in trained.network.state_dict().items()}
    arrays |= {f"history.{name}": values for name, values in trained.history.items()}
    arrays |= {f"profiles.{k}": v for k, v in trained.profiles._asdict().items()}
    return arrays | {
        "description": np.frombuffer(json.dumps(described).encode(), np.uint8),
        "columns": trained.columns,
        "n_cells": np.array(trained.n_cells),
        "anchors": trained.anchors,
    }


def trained_of(
    arrays: Mapping[str, np.ndarray], description: dict[str, Any], device: str
) -> Trained:
    """Return the model that these arrays are of, on a device."""
    parts: dict[str, dict[str, Any]] = {"network": {}, "history": {}, "profiles": {}}
    for name in arrays:
        part, _, rest = name.partition(".")
        if rest:
            parts[part][rest] = arrays[name]
    state = {name: torch.from_numpy(values) for name, values in parts["network"].items()}
    anchors = arrays["anchors"]
    return Trained(
        settings=Settings.of(description["settings"]),
        genes=np.array(description["genes"], dtype=str),
        columns=arrays["columns"],
        batches=description["batches"],
        n_cells=int(arrays["n_cells"]),
        median_counts=description["median_counts"],
        network=Network.from_state(state, len(anchors)).to(pick_device(device)),
        history=parts["history"],
        anchors=anchors,
        profiles=Profiles(**parts["profiles"]),
    )
