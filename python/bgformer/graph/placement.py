"""The pass that puts all cells among the anchors, on several threads or processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from bgformer.fit.embedding import embed
from bgformer.network.attention import anchor_weights
from bgformer.network.heads import head_anchors
from bgformer.network.network import NEIGHBOURS
from bgformer.runtime import block_sizes, ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bgformer.data.sample import Sample
    from bgformer.network.network import Network


class Placement(NamedTuple):
    """Where the cells are among the anchors.

    `latent` is n x d float32 and `anchors` m x d float32, both in units of the spread of like
    cells, and `weights` (CSR n x m) the weights of the cells on the anchors.
    """

    latent: np.ndarray
    anchors: np.ndarray
    weights: sparse.csr_matrix


def placements(
    network: Network, sample: Sample, anchors: np.ndarray, n_threads: int
) -> Iterator[Placement]:
    """Yield the cells' places among given anchors, many cells at a time, in their order.

    Parameters
    ----------
    network
        Trained.
    sample
        Gives out the cells.
    anchors
        m x d.
    n_threads
        Threads to work on, if there is only one process.

    Returns
    -------
    With several ranks, those of all of them on the first; the others send it theirs and yield
    nothing.
    """
    n = len(sample.totals)
    starts = range(0, n, block_sizes.PLACED)

    def work(start: int) -> Placement:
        blocks = sample.blocks(start, min(start + block_sizes.PLACED, n))
        latent = np.concatenate([embed(network, block) for block in blocks])
        return Placement(latent, anchors, anchor_weights(latent, anchors))

    if ranks.count() > 1:
        yield from _in_turn(work, starts, n, anchors)
        return
    with ThreadPoolExecutor(n_threads) as workers:
        for wave in range(0, len(starts), n_threads):  # no more in memory than are worked on
            yield from workers.map(work, starts[wave : wave + n_threads])


def _in_turn(
    work: Callable[[int], Placement], starts: range, n: int, anchors: np.ndarray
) -> Iterator[Placement]:
    """Let ranks take blocks in turn, so that the first has the next while it writes the last."""
    for wave in range(0, len(starts), ranks.count()):
        mine = starts[wave : wave + ranks.count()][ranks.index() : ranks.index() + 1]
        found = [work(start) for start in mine]
        if ranks.index() > 0:
            for placed in found:
                _send(placed)
            continue
        yield from found
        for rank, start in enumerate(starts[wave + 1 : wave + ranks.count()], start=1):
            yield _received(rank, min(block_sizes.PLACED, n - start), anchors)


def _send(placed: Placement) -> None:
    """Send latent and weights to the first rank."""
    weights = placed.weights
    for values in (placed.latent, weights.data, weights.indices.astype(np.int32)):
        ranks.send(torch.from_numpy(np.ascontiguousarray(values)))


def _received(rank: int, n_cells: int, anchors: np.ndarray) -> Placement:
    """Receive latent and weights of as many cells."""
    m, d = anchors.shape
    k = sum(min(NEIGHBOURS, part.stop - part.start) for part in head_anchors(m))
    latent = ranks.receive(rank, (n_cells, d), torch.float32)
    data = ranks.receive(rank, (n_cells * k,), torch.float64)
    indices = ranks.receive(rank, (n_cells * k,), torch.int32)
    indptr = np.arange(0, n_cells * k + 1, k, dtype=np.int32)
    weights = sparse.csr_matrix((data, indices, indptr), shape=(n_cells, m))
    return Placement(latent, anchors, weights)


def gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield rows that come in blocks in the larger ones that `anchor_weights` works in."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= block_sizes.WEIGHTS:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
