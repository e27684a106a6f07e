"""Split the counts of cells into two halves, so that one can test what the other has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from bgformer.data.counts import cell_totals, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.fit.embedding import embed_linear
from bgformer.network.anchor_weights import anchor_weights, heaviest
from bgformer.network.heads import head_anchors, head_columns
from bgformer.runtime.threads import at_once

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


_BITS = 64
"""Counts that are dealt with at once."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


class Half(NamedTuple):
    """One half of the counts of n cells, and the place of the cells by these alone.

    Attributes
    ----------
    counts
        Counts of the selected genes, CSR n x g.
    latent
        Latent of the linear head, n x d float32.
    nearest
        Nearest anchor of the linear head, shape (n,).
    """

    counts: sparse.csr_matrix
    latent: np.ndarray
    nearest: np.ndarray


def halves(
    network: Network,
    data: CountData,
    anchors: np.ndarray,
    seed: int,
    keep: np.ndarray | None = None,
) -> tuple[Half, Half]:
    """Split counts into two random halves, and place the cells by each.

    Given a cell's expression, Poisson counts split this way are independent (data thinning;
    Neufeld et al. 2024, JMLR 25(57)). If one half places the cells, a difference in the other is
    therefore not due to the noise by which they were placed.

    Parameters
    ----------
    network, data
        The trained network and the cells.
    anchors
        Anchors of both heads, one row each with n_latent columns.
    seed
        Seed of `half_of`.
    keep
        As in `fit.embedding.embed`.
    """
    own = linear_anchors(anchors)

    def half(counts: sparse.csr_matrix) -> Half:
        sized = with_size_factors(counts, data.batch, data.median_counts)
        return placed(network, sized, own, keep)

    first, second = at_once(half, dealt(data.counts, seed))
    return first, second


def dealt(counts: sparse.csr_matrix, seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return `half_of` the counts and the other half, which has no stored zeros."""
    one, other = half_of(counts, seed), counts.copy()
    other.data = other.data - one.data
    other.eliminate_zeros()
    return one, other


def linear_anchors(anchors: np.ndarray) -> np.ndarray:
    """Return the anchors of the linear head, m x d, of those of both heads."""
    return anchors[head_anchors(len(anchors))[0], head_columns(anchors.shape[1])[0]]


def placed(
    network: Network, half: CountData, anchors: np.ndarray, keep: np.ndarray | None = None
) -> Half:
    """Place cells among `linear_anchors` by a half of their counts.

    Parameters
    ----------
    network
        The trained network.
    half
        The half, with size factors relative to the median of whole counts.
    anchors
        Some of the anchors of the linear head.
    keep
        As in `fit.embedding.embed`.
    """
    latent = embed_linear(network, half, keep)
    return Half(half.counts, latent, heaviest(anchor_weights(latent, anchors, n_heads=1)))


def half_of(counts: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    """Return a random half of counts: each count is kept with a probability of 1/2.

    The random bits come from a hash of the seed, the cell's counts and the gene, so a cell has the
    same half whatever cells are with it, in whatever order.

    Parameters
    ----------
    counts
        Whole numbers, CSR n x g.
    seed
        Another seed gives another half.

    Returns
    -------
    The half, with the same stored values, of which some are now 0.
    """
    left = counts.data.astype(np.uint64)
    genes = _mixed(counts.indices.astype(np.uint64) + np.uint64(seed))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(genes + left))])
    of_cells = sums[counts.indptr[1:]] - sums[counts.indptr[:-1]]
    bits = _mixed(genes ^ of_cells[rows_of_values(counts)])
    kept, rest = np.zeros(len(left), dtype=np.uint64), np.flatnonzero(left)
    while len(rest):
        bits[rest] = _mixed(bits[rest] + _STEP)
        now = np.minimum(left[rest], np.uint64(_BITS))
        kept[rest] += _ones(bits[rest] >> (np.uint64(_BITS) - now))
        left[rest] -= now
        rest = rest[left[rest] > 0]
    half = counts.copy()
    half.data = kept.astype(np.float32)
    return half


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return random-looking bits for each value: SplitMix64 (Steele et al. 2014)."""
    z = values + _STEP
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _ones(values: np.ndarray) -> np.ndarray:
    """Return the number of bits that are 1 (NumPy has a function for it from version 2 on)."""
    one, two = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    four = np.uint64(0x0F0F0F0F0F0F0F0F)
    pairs = values - ((values >> np.uint64(1)) & one)
    quads = (pairs & two) + ((pairs >> np.uint64(2)) & two)
    octets = (quads + (quads >> np.uint64(4))) & four
    return np.asarray((octets * np.uint64(0x0101010101010101)) >> np.uint64(56))


def members(
    nearest: np.ndarray, n_anchors: int, some: np.ndarray | None = None
) -> sparse.csr_matrix:
    """Return which cells are nearest to each anchor, CSR m x n of ones.

    Parameters
    ----------
    nearest
        Nearest anchor of each cell, shape (n,).
    n_anchors
        Number of anchors, m.
    some
        True for the cells to count, shape (n,); None for all.
    """
    ones = np.ones(len(nearest), np.float32) if some is None else some.astype(np.float32)
    return sparse.csr_matrix((ones, (nearest, np.arange(len(nearest)))), (n_anchors, len(nearest)))


def per_10_000(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return counts per 10,000 of each cell."""
    depth, scaled = np.maximum(cell_totals(counts), 1), counts.copy()
    scaled.data = scaled.data * (LOG_TOTAL / depth)[rows_of_values(scaled)].astype(np.float32)
    return scaled
