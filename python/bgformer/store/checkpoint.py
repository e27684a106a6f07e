"""A run on disk, the trained model and the cells placed so far, from which it can go on."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import zipfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer._version import __version__
from bgformer.graph.placement import Placement
from bgformer.messages import InputError
from bgformer.network.anchor_weights import weights_from_parts
from bgformer.store.persistence import DESCRIPTION, OF_A_RUN, TENSORS, TRAINED
from bgformer.store.replacing import keep_permissions, locked, remove_abandoned
from bgformer.store.trained_state import arrays_of, trained_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bgformer.pipeline.training import Trained

_CELLS, _ENDING, _FINISHED, _LOCK = "cells-{first:012d}.npz", "ending", "finished", "lock"
_DAMAGE = (OSError, zipfile.BadZipFile, LookupError, ValueError, EOFError)
"""What reading a damaged file has been seen to raise."""
_OF_A_BLOCK = ("run", "latent", "data", "indices", "blank")
"""Arrays of a block of cells."""


class Checkpoint:
    """The progress of a run, in a folder.

    ``trained.npz``
        The trained model, the description of its run, and a random name of the run.
    ``cells-<number of the first>.npz``
        A block of cells that were placed, and the name of the run.
    ``ending``
        Empty; written when the output is complete and about to get its name.
    ``lock``
        Empty; locked by the process of the run.

    Each file appears complete or not at all, and holds checksums (CRC-32, as in any .zip file).

    Parameters
    ----------
    folder
        Where it is or will be.
    shown
        What messages call it; None for the folder.
    """

    def __init__(self, folder: Path, shown: Path | None = None) -> None:
        self.folder, self.shown = folder, folder if shown is None else shown
        self._name = ""

    @property
    def exists(self) -> bool:
        """Whether a trained model is there."""
        return (self.folder / TRAINED).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out; in the end, leave nothing unless there is a trained model.

        Raises
        ------
        InputError
            If another run is in.
        OSError
            If nothing can be written there.
        """
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            # whoever may read the input, its progress is its owner's
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._cannot_be_kept(error) from error
        try:
            try:
                locked(lock)
            except BlockingIOError as error:
                raise InputError(
                    "run-in-use",
                    "another run keeps its progress in '{folder}'; wait until it has ended, or "
                    "give another folder.",
                    folder=self.shown,
                ) from error
            try:
                yield
            finally:
                if not self.exists:
                    self.remove()
        finally:
            os.close(lock)
            for path in made:  # from the innermost outwards
                with suppress(OSError):
                    path.rmdir()

    def start(self, trained: Trained, run: dict[str, Any]) -> None:
        """Keep a trained model, and discard an earlier run.

        Parameters
        ----------
        trained
            The model.
        run
            What :attr:`run` will return; of what JSON can hold.
        """
        self._discard()
        self._name = secrets.token_hex(8)
        description = {"version": __version__, "name": self._name, "run": run}
        self._write(TRAINED, **arrays_of(trained, description))

    def run(self) -> dict[str, Any]:
        """Return the description of the run.

        Raises
        ------
        InputError
            If it is damaged, or of another version.
        """
        description: dict[str, Any] = self._read(_description)
        if description["version"] != __version__:
            raise InputError(
                "other-version",
                "the unfinished run in '{folder}' is of bgformer {found}, and this is {version}; "
                "start it again.",
                folder=self.shown,
                found=description["version"],
                version=__version__,
            )
        run: dict[str, Any] = description["run"]
        return run

    def trained(self, device: str) -> Trained:
        """Return the trained model, on a device.

        Raises
        ------
        InputError
            If it is damaged.
        """

        def model(arrays: Any) -> Trained:
            description = _description(arrays)
            self._name = description["name"]
            return trained_of(arrays, description, device)

        trained: Trained = self._read(model)
        return trained

    def placed(self, trained: Trained) -> Iterator[Placement]:
        """Yield the first cells that were placed, in blocks, up to the first that is missing.

        A block that is damaged, or of another run, counts as missing.
        """
        first = 0
        while (path := self._block(first)).is_file():
            try:
                with np.load(path) as arrays:
                    block = {name: arrays[name] for name in _OF_A_BLOCK}
            except _DAMAGE:
                return
            if block["run"].tobytes() != self._name.encode() or not _fits(block, first, trained):
                return
            latent, data = block["latent"], block["data"]
            indptr = np.arange(len(latent) + 1) * (len(data) // len(latent))
            weights = weights_from_parts(data, block["indices"], indptr, len(trained.anchors))
            yield Placement(latent, weights, block["blank"])
            first += len(latent)

    def keep(self, first: int, placed: Placement) -> None:
        """Keep a block of cells, `first` the number of the first one."""
        self._write(
            self._block(first).name,
            run=np.frombuffer(self._name.encode(), np.uint8),
            latent=placed.latent,
            data=placed.weights.data,
            indices=placed.weights.indices,
            blank=placed.blank,
        )

    def end(self, save: Callable[[Path], None]) -> None:
        """Let `save` write the model, beside this folder; the output is about to get its name."""
        finished = self.folder / _FINISHED
        self._discard_finished()
        save(finished)
        target = self.folder.parent
        for name in (TENSORS, DESCRIPTION):
            if (target / name).exists():
                keep_permissions(finished / name, target / name)
        # the description last: without it there is no model, and so never one of two fits
        (target / DESCRIPTION).unlink(missing_ok=True)
        for name in (TENSORS, DESCRIPTION):
            (finished / name).replace(target / name)
        (self.folder / _ENDING).touch()

    @property
    def has_ended(self) -> bool:
        """Whether the output was complete, so that one that is there is of this run."""
        return (self.folder / _ENDING).is_file()

    def tidy(self) -> None:
        """Remove what a run left that was killed before its model was trained, or at its end."""
        if self._has_lock and not self.exists:
            with self.held():
                pass
            with suppress(OSError):
                self.shown.rmdir()  # unless it holds the model

    @property
    def _has_lock(self) -> bool:
        """Whether the folder is one that `held` has made."""
        lock = self.folder / _LOCK
        return lock.is_file() and lock.stat().st_size == 0

    def remove(self) -> None:
        """Remove what belongs to a run, and the folder if it holds nothing else."""
        self._discard()
        (self.folder / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _discard(self) -> None:
        """Remove the files of a run, and nothing that may be of somebody else."""
        # the model first: without it the rest is not mistaken for a run
        for path in (self.folder / TRAINED, *self.folder.glob("*")):
            if OF_A_RUN.fullmatch(path.name) and path.is_file() and path.name != _LOCK:
                path.unlink()
        self._discard_finished()
        remove_abandoned(self.folder)

    def _discard_finished(self) -> None:
        """Remove a model that was to be moved, unless the folder holds anything else."""
        finished = self.folder / _FINISHED
        if finished.is_dir() and not (set(os.listdir(finished)) - {DESCRIPTION, TENSORS}):
            shutil.rmtree(finished)

    def _block(self, first: int) -> Path:
        """Return the file of the block that starts with this cell."""
        return self.folder / _CELLS.format(first=first)

    def _write(self, name: str, **arrays: np.ndarray) -> None:
        """Write a file that appears complete or not at all."""
        partial = self.folder / f"{name}.partial"
        content = io.BytesIO()  # a full disk would leave NumPy with an archive it cannot close
        np.savez(content, **arrays)
        try:
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.folder / name)
        except OSError as error:
            raise self._cannot_be_kept(error) from error
        finally:
            partial.unlink(missing_ok=True)

    def damaged(self) -> InputError:
        """Return what to raise if this cannot be of a run."""
        return InputError(
            "damaged-run",
            "the unfinished run in '{folder}' is damaged; remove this folder, and start the run "
            "again.",
            folder=self.shown,
        )

    def _cannot_be_kept(self, error: OSError) -> OSError:
        """Return what to raise if the system refuses to write."""
        return OSError(
            f"the progress of the run cannot be kept in '{self.shown}': {error.strerror or error}."
        )

    def _read(self, read: Any) -> Any:
        """Return what `read` makes of the trained model's arrays."""
        try:
            with np.load(self.folder / TRAINED) as arrays:
                return read(arrays)
        except InputError:
            raise
        except (*_DAMAGE, TypeError, RuntimeError) as error:
            raise self.damaged() from error


def _description(arrays: Any) -> dict[str, Any]:
    """Return the description that is among the arrays; raise ValueError if it is none."""
    described = json.loads(arrays["description"].tobytes())
    if not isinstance(described, dict) or not isinstance(described["run"], dict):
        raise ValueError("it does not describe a run")
    return described


def _fits(block: dict[str, np.ndarray], first: int, trained: Trained) -> bool:
    """Tell whether a block can be of cells of a run, `first` the number of its first one."""
    latent, data, indices, blank = (block[name] for name in _OF_A_BLOCK[1:])
    m, width = trained.anchors.shape
    return bool(
        latent.dtype == np.float32
        and latent.ndim == 2
        and latent.shape[1] == width
        and 0 < len(latent) <= trained.n_cells - first
        and blank.shape == (len(latent),)
        and blank.dtype == bool
        and np.isfinite(latent).all()
        and data.shape == indices.shape == (len(latent) * (len(data) // len(latent)),)
        and indices.dtype.kind == "i"
        and ((indices >= 0) & (indices < m)).all()
        and np.isfinite(data).all()
    )
