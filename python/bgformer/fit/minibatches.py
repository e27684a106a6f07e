"""Minibatches: cells drawn for a training step, seen in two views of half of the genes each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from bgformer.data.counts import rows_of_values
from bgformer.network.seen import Seen, residuals
from bgformer.runtime.sparse_rows import SparseRows, copied
from bgformer.runtime.threads import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


class Halves(NamedTuple):
    """Two disjoint halves of the genes, and the genes that the view of each half reconstructs.

    `one` is True for the genes of one half, shape (g,). `drawn` are indices of genes that each
    view does not see, 2 x k.
    """

    one: np.ndarray
    drawn: np.ndarray


class Minibatch(NamedTuple):
    """What a training step needs of b cells, on the device.

    Attributes
    ----------
    residuals
        Residuals of the cells in the first view, and below in the second, 2b x g. A view sees half
        of the genes; doubling the residuals restores the scale of all genes.
    counts
        Counts of the genes that each view reconstructs, 2 x b x k.
    genes
        Indices of these genes, 2 x k.
    size_factors, batch
        Size factors, b x 1, and batch codes, shape (b,).
    """

    residuals: Seen
    counts: torch.Tensor
    genes: torch.Tensor
    size_factors: torch.Tensor
    batch: torch.Tensor


class Drawn(NamedTuple):
    """A minibatch, and the indices of its cells and the halves it was made from."""

    rows: np.ndarray
    halves: Halves
    cells: Minibatch


class Minibatches:
    """Endless shuffled minibatches of equal size; each epoch sees each cell once.

    Parameters
    ----------
    network
        The network; minibatches are put on its device.
    data
        The training cells. Their residuals are computed once, for all steps.
    size, n_genes
        Number of cells in a minibatch, and of genes on which the ZINB term is estimated.
    seed
        Seed for the order of the cells and the halves of the genes.
    """

    def __init__(
        self, network: Network, data: CountData, size: int, n_genes: int, seed: int
    ) -> None:
        self.data, self.device = data, network.anchors.device
        self.size = min(size, data.n_cells)
        self.n_drawn = min(n_genes, data.n_genes) // 2
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.order = np.empty(0, dtype=np.int64)
        self.seen = residuals(
            SparseRows.on_device(data.counts, torch.device("cpu")),
            torch.from_numpy(data.size_factors)[:, None],
            network.gene_mean.cpu(),
            float(network.max_residual),
        )
        counts = data.counts
        self.places = sparse.csr_matrix(
            (np.arange(counts.nnz), counts.indices, counts.indptr), shape=counts.shape
        )

    def drawn(self, n_steps: int) -> Iterator[Drawn]:
        """Yield the minibatches of all steps."""
        return ahead(lambda _: self._draw(), range(n_steps))

    def _draw(self) -> Drawn:
        """Return the next minibatch."""
        if len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(self.data.n_cells)])
        rows, self.order = self.order[: self.size], self.order[self.size :]
        halves = self._halves()
        return Drawn(rows, halves, self.load(rows, halves))

    def _halves(self) -> Halves:
        """Split the genes into two random halves; each view reconstructs genes of the other."""
        n_genes = self.data.n_genes
        order = torch.randperm(n_genes, generator=self.generator).numpy()
        one = np.zeros(n_genes, dtype=bool)
        one[order[: n_genes // 2]] = True
        other = order[n_genes // 2 :]
        return Halves(one, np.stack([other[: self.n_drawn], order[: self.n_drawn]]))

    def load(self, rows: np.ndarray, halves: Halves) -> Minibatch:
        """Return what a step needs of these cells."""
        found = self.places[rows]
        n, (n_levels, _) = len(rows), self.seen.absent.shape
        shares = torch.zeros((2 * n, 2 * n_levels))
        shares[:n, :n_levels] = shares[n:, n_levels:] = self.seen.shares[torch.from_numpy(rows)]
        one = torch.from_numpy(halves.one)
        absent = torch.cat([2 * one * self.seen.absent, 2 * ~one * self.seen.absent])
        changes = SparseRows.on_device(self._changes(found, halves.one), self.device)
        return Minibatch(
            Seen(shares.to(self.device), absent.to(self.device), changes),
            copied(self._counts(found, halves.drawn), self.device),
            copied(halves.drawn, self.device),
            copied(self.data.size_factors[rows, None], self.device),
            copied(self.data.batch[rows], self.device),
        )

    def _changes(self, found: sparse.csr_matrix, one: np.ndarray) -> sparse.csr_matrix:
        """Return the changes of some cells in both views, 2b x g; `found` are their places."""
        upper = one[found.indices]
        order = np.concatenate([np.flatnonzero(upper), np.flatnonzero(~upper)])
        n_upper = np.concatenate([[0], upper.cumsum()])[found.indptr]
        n_lower = found.indptr - n_upper
        changes = self.seen.changes.values.numpy()[found.data[order]]
        indptr = np.concatenate([n_upper, n_upper[-1] + n_lower[1:]])
        n_cells, n_genes = found.shape
        return sparse.csr_matrix(
            (2 * changes, found.indices[order], indptr), shape=(2 * n_cells, n_genes)
        )

    def _counts(self, found: sparse.csr_matrix, drawn: np.ndarray) -> np.ndarray:
        """Return the counts of some cells in the drawn genes, 2 x b x k."""
        view, place = np.full((2, found.shape[1]), -1)
        view[drawn] = [[0], [1]]
        place[drawn] = np.arange(drawn.shape[1])
        at = np.flatnonzero(view[found.indices] >= 0)
        genes, cells = found.indices[at], rows_of_values(found)[at]
        counts = np.zeros((2, found.shape[0], drawn.shape[1]), dtype=np.float32)
        counts[view[genes], cells, place[genes]] = self.data.counts.data[found.data[at]]
        return counts
