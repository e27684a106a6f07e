"""Initialisation: both heads start as projections on principal components of the cells."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from bgformer.data.counts import CountData, log_moments
from bgformer.data.scaling import LOG_TOTAL
from bgformer.network.network import Network
from bgformer.runtime.sparse_rows import SparseRows

if TYPE_CHECKING:
    from bgformer.network.seen import Seen

_CELLS = 10_000
"""Maximum number of cells used to compute principal components."""
_FEW = 4
"""Matrices of no more rows or columns than this multiple of the axes are decomposed whole."""


def network_for(
    data: CountData, *, n_batches: int, n_anchors: int, n_latent: int, seed: int
) -> Network:
    """Return an untrained network for the genes of the data, initialised from their PCA."""
    total = np.asarray(data.counts.sum(axis=0), dtype=np.float64).ravel()
    gene_mean = total / data.size_factors.sum(dtype=np.float64)
    with torch.random.fork_rng(devices=[]):  # leave the caller's generator unchanged
        torch.default_generator.manual_seed(seed)
        network = Network(
            gene_mean,
            np.sqrt(data.n_cells),  # as in the choice of genes
            data.median_counts,
            n_batches=n_batches,
            n_anchors=n_anchors,
            n_latent=n_latent,
        )
    mean, deviation = log_moments(data, LOG_TOTAL)
    network.log_mean.copy_(torch.as_tensor(mean))
    network.log_deviation.copy_(torch.as_tensor(deviation))
    network.batch_offset.copy_(torch.as_tensor(_batch_offset(data, gene_mean, n_batches)))
    _start(network, data, seed)
    return network


def _start(network: Network, data: CountData, seed: int) -> None:
    """Set the axes of both heads to the principal components of a sample of the cells.

    The axes of the learned head are divided by the root mean square deviation along them, so that
    its outputs start with standard deviations of about 1.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_CELLS])
    sample = data.rows(rows)
    counts = SparseRows.on_device(sample.counts, torch.device("cpu"))
    size_factors = torch.from_numpy(sample.size_factors)[:, None]
    linear, _ = _components(
        network.standardised(counts, size_factors), len(network.linear_centre), seed
    )
    learned, deviations = _components(
        network.residuals(counts, size_factors), len(network.learned_centre), seed
    )
    scale = np.sqrt(max(np.square(deviations).mean(), 1e-12))
    network.start_from(linear, learned / scale)


def _components(seen: Seen, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `width` principal axes, k x g, and the standard deviations along them.

    The axes are those of the largest singular values of the centred matrix, which is never made
    dense unless it is small.
    """
    centred = _Centred(seen)
    n_cells, k = centred.shape[0], min(width, *centred.shape)
    found = None
    if min(centred.shape) > _FEW * width:
        start = np.random.default_rng(seed).normal(size=min(centred.shape)).astype(np.float32)
        with suppress(ArpackError):  # if all cells are the same
            found = svds(centred, k=k, v0=start)
    if found is None:
        found = np.linalg.svd(centred @ np.eye(centred.shape[1]), full_matrices=False)
    _, deviations, axes = found
    largest = np.argsort(-deviations, kind="stable")[:k]
    return axes[largest], deviations[largest] / np.sqrt(max(n_cells - 1, 1))


class _Centred(LinearOperator):  # type: ignore[misc] # scipy has no types
    """What a head sees of cells, b x g, minus the mean of each gene."""

    def __init__(self, seen: Seen) -> None:
        self.shares, self.absent = (part.numpy() for part in (seen.shares, seen.absent))
        changes = seen.changes
        self.changes = sparse.csr_matrix(
            (changes.values, changes.columns, changes.indptr),
            shape=(changes.n_rows, changes.n_columns),
        )
        self.transposed = self.changes.T.tocsr()
        of_changes = np.asarray(self.changes.mean(axis=0)).ravel()
        self.mean = self.shares.mean(axis=0) @ self.absent + of_changes
        super().__init__(np.float32, self.changes.shape)

    def _matmat(self, axes: np.ndarray) -> np.ndarray:
        """Return the product with axes, g x k."""
        return self.shares @ (self.absent @ axes) + self.changes @ axes - self.mean @ axes

    def _rmatvec(self, cells: np.ndarray) -> np.ndarray:
        """Return the product of the transpose with cells, (b,) or b x 1; old SciPy asks for it."""
        return self._rmatmat(cells.reshape(-1, 1)).ravel()

    def _rmatmat(self, cells: np.ndarray) -> np.ndarray:
        """Return the product of the transpose with cells, b x k."""
        of_seen = self.absent.T @ (self.shares.T @ cells) + self.transposed @ cells
        return of_seen - np.outer(self.mean, cells.sum(axis=0))


def _batch_offset(data: CountData, gene_mean: np.ndarray, n_batches: int) -> np.ndarray:
    """Return the log ratio of each batch's mean count to that of all cells, batches x g.

    A pseudocount keeps the ratio near 0 for genes with few counts in a batch.
    """
    offset = np.zeros((n_batches, data.n_genes))
    for code in np.unique(data.batch) if n_batches > 1 else ():
        inside = data.batch == code
        seen = np.asarray(data.counts[inside].sum(axis=0), dtype=np.float64).ravel()
        expected = gene_mean * data.size_factors[inside].sum(dtype=np.float64)
        offset[code] = np.log((seen + 1) / (expected + 1))
    return offset
