"""The device that torch uses: its choice, and what fits into its memory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = TypeVar("Rows", range, np.ndarray)
Done = TypeVar("Done")


def pick_device(device: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises
    ------
    ValueError
        If the device is unknown, or this machine does not have it.
    """
    if not isinstance(device, str):
        raise InputError(
            "unknown-device",
            "{name[device]} is {device!r}; use 'auto', 'cpu', 'cuda' or 'mps'.",
            device=device,
        )
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "mps"):
        raise InputError(
            "unknown-device",
            "{name[device]} '{device}' is unknown; use 'auto', 'cpu', 'cuda' or 'mps'.",
            device=device,
        )
    missing = (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()) or (
        chosen.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise InputError(
            "no-such-device",
            "{name[device]} '{device}' was asked for, but torch {torch} finds none on this "
            "machine; use {name[device]}='auto' or 'cpu'.",
            device=device,
            torch=torch.__version__,
        )
    return chosen


class Portions:
    """Processes rows at once, or in parts after the device has run out of memory."""

    def __init__(self) -> None:
        self.most: int | None = None

    def each(self, work: Callable[[Rows], Done], rows: Rows) -> Iterator[Done]:
        """Yield the results of `work` for the rows, in one or several parts, in order.

        Raises
        ------
        torch.OutOfMemoryError
            If a single row does not fit into memory.
        """
        while len(rows):
            part = rows[: self.most]
            try:
                done = work(part)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self.most = -(-len(part) // 2)
                warnings.warn(
                    f"the GPU has too little memory for {len(part)} cells at once; continuing "
                    f"with {self.most}.",
                    stacklevel=2,
                )
                continue
            yield done
            rows = rows[len(part) :]
