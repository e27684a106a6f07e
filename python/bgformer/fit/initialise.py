"""Initialisation: both heads start as projections on principal components of the cells."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from bgformer.data.counts import CountData, log_moments
from bgformer.data.scaling import LOG_TOTAL
from bgformer.network.network import Network
from bgformer.runtime.devices import dense

_CELLS = 10_000
"""Maximum number of cells used to compute principal components."""


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
    counts = dense(sample.counts, torch.device("cpu"))
    size_factors = torch.from_numpy(sample.size_factors)[:, None]
    linear = _components(
        network.standardised(counts, size_factors), len(network.axes), seed
    ).components_
    learned = _components(
        network.residuals(counts, size_factors), len(network.encoder_linear.weight), seed
    )
    deviation = np.sqrt(max(learned.explained_variance_.mean(), 1e-12))
    network.start_from(linear, learned.components_ / deviation)


def _components(values: torch.Tensor, width: int, seed: int) -> PCA:
    """Return a PCA of cells x genes with at most `width` components."""
    k = min(width, *values.shape)
    # One thread, because the order of a parallel sum changes the last digits. With identical
    # cells, PCA divides 0 by 0.
    with threadpool_limits(limits=1), np.errstate(invalid="ignore"):
        return PCA(k, svd_solver="randomized", random_state=seed).fit(values.numpy())


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
