"""A run on disk, the trained model and the cells placed so far, from which it can go on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bgformer._version import __version__
from bgformer.graph.evidence import Profiles
from bgformer.messages import InputError
from bgformer.network.anchor_weights import weights_from_parts
from bgformer.network.network import Network
from bgformer.pipeline.settings import Settings
from bgformer.pipeline.training import Trained
from bgformer.runtime.devices import pick_device
from bgformer.runtime.progress import say
from bgformer.store.persistence import DESCRIPTION, OF_A_RUN, TENSORS, TRAINED
from bgformer.store.replacing import keep_permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from scipy import sparse

    from bgformer.pipeline.places import Places

_CELLS, _ENDING, _FINISHED = "cells-{first:012d}.npz", "ending", "finished"
_DAMAGE = (OSError, zipfile.BadZipFile, LookupError, ValueError, EOFError)
"""What reading a damaged file has been seen to raise."""


class Checkpoint:
    """The progress of a run, in a folder.

    ``trained.npz``
        The trained model and the description of its run.
    ``cells-<number of the first>.npz``
        Latent and weights of a block of cells.
    ``ending``
        Empty; written when the output is complete and about to get its name.

    Each file appears complete or not at all, and holds checksums (CRC-32, as in any .zip file).

    Parameters
    ----------
    folder
        Where it is or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Path] = []

    @property
    def exists(self) -> bool:
        """Whether a trained model is there."""
        return (self.folder / TRAINED).is_file()

    def start(self, trained: Trained, run: dict[str, Any]) -> None:
        """Keep a trained model, and discard an earlier run.

        Parameters
        ----------
        trained
            The model.
        run
            What :attr:`run` will return; of what JSON can hold.
        """
        self.remove()
        missing = [path for path in self.folder.parents if not path.exists()]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._made = missing  # from the innermost outwards
        self.folder.mkdir(
            mode=0o700, exist_ok=True
        )  # whoever may read the input, its progress is its owner's
        description = {
            "version": __version__,
            "run": run,
            "settings": trained.settings.described(),
            "median_counts": trained.median_counts,
            "genes": trained.genes.tolist(),
            "batches": trained.batches,
        }
        arrays = {f"network.{k}": v.cpu().numpy() for k, v in trained.network.state_dict().items()}
        arrays |= {f"history.{name}": values for name, values in trained.history.items()}
        arrays |= {f"profiles.{k}": v for k, v in trained.profiles._asdict().items()}
        try:
            self._write(
                TRAINED,
                description=np.frombuffer(json.dumps(description).encode(), np.uint8),
                columns=trained.columns,
                totals=trained.totals,
                anchors=trained.anchors,
                **arrays,
            )
        except BaseException:
            self.remove()
            raise

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
                folder=self.folder.parent,
                found=description["version"],
                version=__version__,
            )
        return description["run"]

    def trained(self, device: str) -> Trained:
        """Return the trained model, on a device.

        Raises
        ------
        InputError
            If it is damaged.
        """

        def model(arrays: Any) -> Trained:
            description = _description(arrays)
            parts: dict[str, dict[str, np.ndarray]] = {
                "network": {},
                "history": {},
                "profiles": {},
            }
            for name in arrays.files:
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
                totals=arrays["totals"],
                median_counts=description["median_counts"],
                network=Network.from_state(state, len(anchors)).to(pick_device(device)),
                history=parts["history"],
                anchors=anchors,
                profiles=Profiles(**parts["profiles"]),
            )

        return self._read(model)

    def placed(self, n_anchors: int) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield latent and weights of the first cells, in blocks, up to the first that is missing.

        A damaged block counts as missing.
        """
        first = 0
        while (path := self._block(first)).is_file():
            try:
                with np.load(path) as arrays:
                    latent, data, indices = (arrays[k] for k in ("latent", "data", "indices"))
                indptr = np.arange(len(latent) + 1) * (len(data) // len(latent))
            except _DAMAGE:
                return
            yield latent, weights_from_parts(data, indices, indptr, n_anchors)
            first += len(latent)

    def keep(self, first: int, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Keep the latent and weights of a block of cells, `first` the number of the first one."""
        self._write(
            self._block(first).name, latent=latent, data=weights.data, indices=weights.indices
        )

    def end(self, save: Callable[[Path], None]) -> None:
        """Let `save` write the model, beside this folder; the output is about to get its name."""
        finished = self.folder / _FINISHED
        shutil.rmtree(finished, ignore_errors=True)
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

    def remove(self) -> None:
        """Remove what belongs to a run, and the folder if it holds nothing else."""
        # the model first: without it the rest is not mistaken for a run
        (self.folder / TRAINED).unlink(missing_ok=True)
        for path in self.folder.glob("*"):
            if OF_A_RUN.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for folder in (self.folder, *self._made):
            with suppress(OSError):
                folder.rmdir()

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
            raise OSError(
                f"the progress of the run cannot be kept in '{self.folder.parent}': "
                f"{error.strerror or error}."
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _read(self, read: Any) -> Any:
        """Return what `read` makes of the trained model's arrays."""
        try:
            with np.load(self.folder / TRAINED) as arrays:
                return read(arrays)
        except InputError:
            raise
        except (*_DAMAGE, TypeError, RuntimeError) as error:
            raise InputError(
                "damaged-run",
                "the unfinished run in '{folder}' is damaged; start it again.",
                folder=self.folder.parent,
            ) from error


class KeptPlaces:
    """Storage for cells that also keeps them in a checkpoint. It is one of `places.Places`.

    Parameters
    ----------
    places
        The storage.
    checkpoint
        A checkpoint that was started.
    """

    def __init__(self, places: Places, checkpoint: Checkpoint) -> None:
        self._places, self._checkpoint = places, checkpoint
        self._n_kept = self._n_added = 0

    def placed(
        self, trained: Trained, *, verbose: bool
    ) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield what the checkpoint has of the cells, and log how many; `add` keeps none again."""
        for latent, weights in self._checkpoint.placed(len(trained.anchors)):
            self._n_kept += len(latent)
            yield latent, weights
        say(
            f"continuing with {self._n_kept} of {len(trained.totals)} cells placed",
            verbose=verbose,
        )

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Begin with the first cell."""
        self._places.start(n_cells, n_latent, n_anchors)
        self._n_added = 0

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Add the next cells, and keep them unless they are from the checkpoint."""
        if self._n_added >= self._n_kept:
            self._checkpoint.keep(self._n_added, latent, weights)
        self._places.add(latent, weights)
        self._n_added += len(latent)

    def end(self) -> tuple[Any, Any]:
        """Return what the storage returns."""
        return self._places.end()


def _description(arrays: Any) -> dict[str, Any]:
    """Return the description that is among the arrays."""
    described: dict[str, Any] = json.loads(arrays["description"].tobytes())
    return described


def contents_of_files(paths: Sequence[Path]) -> str:
    """Return a checksum of the names and the contents of some files, SHA-256."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def state_of_files(path: Path) -> str:
    """Return a number that changes when a file, or any file in a folder, is written to.

    It is made of their names, sizes and times of change; the contents are not read.
    """
    digest = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        stat = file.stat()
        if file.is_file():
            digest.update(
                f"{file.relative_to(path)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode()
            )
    return digest.hexdigest()
