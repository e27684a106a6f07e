"""Communication between the processes of one run, through torch.distributed.

torchrun starts several processes ("ranks") of the same command. Each rank reads a part of the
cells. The first trains, on a sample that does not grow with the data, and the others get the
result. To place all cells, the ranks take blocks in turn. Without torchrun there is a single
process, and nothing is exchanged.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

_joined = False
"""Whether this process is one of several. A process group that someone else started is ignored."""
_PATIENCE = timedelta(minutes=30)
"""Maximum time that a rank waits for another live rank; a dead one is noticed at once."""


@contextmanager
def started() -> Iterator[None]:
    """If torchrun started this process, join the others for the duration of the block.

    Raises
    ------
    ConnectionError
        If another process died or was stopped.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    global _joined
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    _joined = True
    try:
        yield
        distributed.barrier()  # a rank that leaves early would look dead to the others
    except RuntimeError as error:
        if "gloo" not in str(error) and "peer" not in str(error):
            raise
        raise ConnectionError(
            "another process of this run died or was stopped, so this one stops too; run it again."
        ) from error
    finally:
        _joined = False
        distributed.destroy_process_group()


def count() -> int:
    """Return the number of ranks."""
    return distributed.get_world_size() if _joined else 1


def index() -> int:
    """Return the index of this rank, from 0."""
    return distributed.get_rank() if _joined else 0


def add(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all ranks, in place; the result is bitwise identical on all."""
    if count() > 1:
        distributed.all_reduce(values)
    return values


def add_arrays(*arrays: np.ndarray) -> None:
    """Sum arrays over all ranks, in place; the results are bitwise identical on all."""
    for array in arrays:
        add(torch.from_numpy(array))


def gathered_rows(mine: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the rows of all ranks on every rank, in the order of the ranks."""
    if count() == 1:
        return mine
    data, indices, per_row = (
        _joined_parts(part)
        for part in (mine.data, mine.indices.astype(np.int32), np.diff(mine.indptr))
    )
    indptr = np.concatenate([[0], np.cumsum(per_row, dtype=np.int64)])
    return sparse.csr_matrix((data, indices, indptr), shape=(len(per_row), mine.shape[1]))


def _joined_parts(mine: np.ndarray) -> np.ndarray:
    """Return the arrays of all ranks, concatenated in the order of the ranks."""
    ends = np.zeros(count(), dtype=np.int64)
    ends[index()] = len(mine)
    add_arrays(ends)
    ends = np.cumsum(ends)
    joined = np.empty(ends[-1], dtype=mine.dtype)
    for rank, part in enumerate(np.split(joined, ends[:-1])):
        if rank == index():
            part[:] = mine
        if len(part):
            distributed.broadcast(torch.from_numpy(part), rank)
    return joined


def as_on_first(*values: torch.Tensor) -> None:
    """Set tensors to their values on the first rank, in place."""
    if count() == 1:
        return
    for value in values:
        there = value.detach().cpu()
        distributed.broadcast(there, 0)
        value.detach().copy_(there)


def send(values: torch.Tensor) -> None:
    """Send a tensor to the first rank."""
    distributed.send(values, 0)


def receive(rank: int, shape: tuple[int, ...], dtype: torch.dtype) -> np.ndarray:
    """Receive a tensor from a rank, as an array."""
    values = torch.empty(shape, dtype=dtype)
    distributed.recv(values, rank)
    return values.numpy()
