"""Fitted models in folders, with the names and colours of their clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgformer.runtime.devices import pick_device
from bgformer.store import persistence
from bgformer.store.state import from_state, looks_in, to_state

if TYPE_CHECKING:
    from pathlib import Path

    from bgformer.pipeline.fitted import Fitted
    from bgformer.store.looks import Looks


def write_model(directory: str | Path, fitted: Fitted, looks: Looks, *, overwrite: bool) -> None:
    """Write the folder that `read_model` reads; see `persistence.write` for errors."""
    tensors, description = to_state(fitted, looks)
    persistence.write(directory, tensors, description, overwrite=overwrite)


def read_model(directory: str | Path, device: str) -> tuple[Fitted, Looks]:
    """Return the model in a folder, and the looks of its clusters.

    Errors are those of `persistence.read`, and of `pick_device` for a bad device.
    """
    pick_device(device)  # otherwise a bad device would be reported as a damaged file
    tensors, description = persistence.read(directory)
    with persistence.damage_reported(directory):
        fitted = from_state(tensors, description, device=device)
        return fitted, looks_in(description, fitted.partition.n_clusters)
