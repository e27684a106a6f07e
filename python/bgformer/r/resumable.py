"""A run that R started in a process of its own, and that can go on after it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgformer.messages import InputError
from bgformer.pipeline.fitting import place_cells, say_found
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.training import train_model
from bgformer.r.store import CellsFromR
from bgformer.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    from bgformer.pipeline.fitted import Fitted
    from bgformer.pipeline.settings import Settings


def fitted_with_checkpoint(settings: Settings, cells: CellsFromR, *, verbose: bool) -> Fitted:
    """Fit a model to cells from R, from where an earlier run stopped if there was one.

    Parameters
    ----------
    settings
        Settings of the fit.
    cells
        The cells, with the folder for the progress of the run as ``checkpoint``.
    verbose
        Show progress.

    Raises
    ------
    InputError
        If that folder has something else, or the progress of another run.
    """
    assert cells.checkpoint is not None
    checkpoint = Checkpoint(Path(cells.checkpoint))
    _check_folder(checkpoint)
    run = {"settings": settings.described(), "cells": cells.described()}
    places = InMemoryPlaces()
    with checkpoint.held():
        resumed = checkpoint.exists
        if resumed:
            _check_run(checkpoint, run)
            trained = checkpoint.trained(settings.device)
            counts: Any = trained.counts_of(cells, batch_key=cells.batch_key)
        else:
            trained, counts = train_model(
                settings, cells, batch_key=cells.batch_key, verbose=verbose
            )
            checkpoint.start(trained, run)
        said = verbose and resumed
        fitted = place_cells(trained, counts, places, cells.obs_names, checkpoint, verbose=said)
    say_found(fitted.partition, verbose=verbose)
    return fitted


def forget(folder: Path) -> None:
    """Remove the progress of the run whose request is in a folder, if it has any."""
    cells = CellsFromR(folder)
    if cells.checkpoint is not None:
        Checkpoint(Path(cells.checkpoint)).remove()


def _check_run(checkpoint: Checkpoint, run: dict[str, Any]) -> None:
    """Raise InputError if a checkpoint is of another run."""
    if checkpoint.run() != run:
        raise InputError(
            "other-run",
            "{name[checkpoint]} '{folder}' holds the progress of a run with other cells or "
            "arguments; give another folder, or remove this one.",
            folder=checkpoint.folder,
        )


def _check_folder(checkpoint: Checkpoint) -> None:
    """Raise InputError if a checkpoint's folder cannot be made, or holds anything else."""
    folder = checkpoint.folder
    if not folder.parent.is_dir():
        raise InputError(
            "no-folder",
            "there is no folder '{parent}' for {name[checkpoint]}; make it first.",
            parent=folder.parent,
        )
    checkpoint.tidy()
    if folder.exists() and not checkpoint.exists:
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputError(
                "folder-in-use",
                "{name[checkpoint]} '{folder}' exists and does not hold the progress of a run; "
                "give a new folder.",
                folder=folder,
            )
