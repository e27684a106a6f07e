"""Compute the latent and the anchor weights of all cells, on several threads or processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from bgformer.fit.embedding import embed
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import head_anchors
from bgformer.network.network import NEIGHBOURS
from bgformer.runtime import block_sizes, ranks
from bgformer.runtime.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bgformer.data.sample import Sample, SelectedCounts
    from bgformer.network.network import Network


class Placement(NamedTuple):
    """Where cells are among the anchors.

    Attributes
    ----------
    latent
        Latent, in units of the spread of similar cells, n x d float32.
    weights
        Weights on the anchors, CSR n x m.
    blank
        True for cells without counts in the genes used, shape (n,). Their place means nothing.
    """

    latent: np.ndarray
    weights: sparse.csr_matrix
    blank: np.ndarray


def placements(
    network: Network,
    cells: Sample | SelectedCounts,
    anchors: np.ndarray,
    n_threads: int,
    first: int = 0,
) -> Iterator[Placement]:
    """Yield the latent and the weights of cells in blocks, in the order of the cells.

    With several ranks, the first yields the blocks of all; the others send theirs to it and yield
    nothing.

    Parameters
    ----------
    network
        The trained network.
    cells
        Counts of the selected genes, of all n cells.
    anchors
        Anchors, m x d.
    n_threads
        Number of threads, used if there is only one process.
    first
        Number of cells to leave out, which were placed before; n, or whole blocks.

    Yields
    ------
    The next block of cells.
    """
    n = cells.n_cells
    starts = range(first, n, block_sizes.PLACED)

    def work(start: int) -> Placement:
        found, blank = [], []
        for block in cells.blocks(start, min(start + block_sizes.PLACED, n)):
            found.append(embed(network, block))
            blank.append(np.diff(block.counts.indptr) == 0)
        latent = np.concatenate(found)
        return Placement(latent, anchor_weights(latent, anchors), np.concatenate(blank))

    if ranks.count() > 1:
        yield from _in_turn(work, starts, n, anchors)
        return
    yield from ahead(work, starts, n_threads)


def _in_turn(
    work: Callable[[int], Placement], starts: range, n: int, anchors: np.ndarray
) -> Iterator[Placement]:
    """Distribute blocks over ranks in turn, so that they work while the first one writes."""
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
    """Send a block to the first rank."""
    weights = placed.weights
    for values in (placed.latent, weights.data, weights.indices.astype(np.int32), placed.blank):
        ranks.send(torch.from_numpy(np.ascontiguousarray(values)))


def _received(rank: int, n_cells: int, anchors: np.ndarray) -> Placement:
    """Receive a block of `n_cells` cells from a rank."""
    m, d = anchors.shape
    k = sum(min(NEIGHBOURS, part.stop - part.start) for part in head_anchors(m))
    latent = ranks.receive(rank, (n_cells, d), torch.float32)
    data = ranks.receive(rank, (n_cells * k,), torch.float64)
    indices = ranks.receive(rank, (n_cells * k,), torch.int32)
    blank = ranks.receive(rank, (n_cells,), torch.bool)
    indptr = np.arange(0, n_cells * k + 1, k, dtype=np.int32)
    weights = sparse.csr_matrix((data, indices, indptr), shape=(n_cells, m))
    return Placement(latent, weights, blank)


def gathered(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Join blocks of rows into larger ones of at least `block_sizes.WEIGHTS` rows."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= block_sizes.WEIGHTS:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
