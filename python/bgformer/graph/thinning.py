"""Split the counts of cells into two halves, so that one can test what the other has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from bgformer.data.counts import cell_totals, rows_of_values, with_size_factors
from bgformer.data.scaling import LOG_TOTAL
from bgformer.fit.embedding import embed
from bgformer.network.anchor_weights import anchor_weights, heaviest
from bgformer.network.heads import head_anchors, head_columns
from bgformer.runtime.threads import at_once

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


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
    rng: np.random.Generator,
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
    rng
        Draws the halves.
    keep
        As in `fit.embedding.embed`.
    """
    one, other = data.counts.copy(), data.counts.copy()
    one.data = rng.binomial(one.data.astype(np.int64), 0.5).astype(np.float32)
    other.data -= one.data
    other.eliminate_zeros()
    columns, own = head_columns(anchors.shape[1])[0], head_anchors(len(anchors))[0]

    def half(counts: sparse.csr_matrix) -> Half:
        sized = with_size_factors(counts, data.batch, data.median_counts)
        latent = embed(network, sized, keep)[:, columns]
        nearest = heaviest(anchor_weights(latent, anchors[own, columns], n_heads=1))
        return Half(counts, latent, nearest)

    first, second = at_once(half, (one, other))
    return first, second


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
