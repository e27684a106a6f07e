"""The processes of one run: what they share, through torch.distributed.

torchrun starts several processes ("ranks") of the same command. All of them train on the same
minibatches, each on its part, and each passes over its own part of the cells. Without torchrun
there is one process, and every function here returns what it is given.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another that is alive; one that died is noticed at once."""


@contextmanager
def started() -> Iterator[None]:
    """Join the other processes, if torchrun started this one, until the end of the block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """Return the number of ranks."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def index() -> int:
    """Return which of them this is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def add(values: torch.Tensor) -> torch.Tensor:
    """Add up a tensor over all ranks, in place; all get the same bits."""
    if count() > 1:
        distributed.all_reduce(values)
    return values


def share(n: int) -> slice:
    """Return this rank's part of n things in a row."""
    return slice(n * index() // count(), n * (index() + 1) // count())
