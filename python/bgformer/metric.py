"""The metric of the latent: distances in units of how far apart like cells lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from bgformer.training import embed

if TYPE_CHECKING:
    from bgformer.counts import CountData
    from bgformer.network import Network

_CELLS = 10_000
"""Cells that the metric is measured on."""
_NEIGHBOURS = 5
"""Neighbours among which like cells are sought, few so that a rare type stays among its own, and
no more than ..."""
_SHARE = 0.05
"""... this share of the cells of a group."""
_ROUNDS = 2
"""The neighbours are sought again in the metric that the first ones gave."""
_HALVINGS = 4
"""Ways to halve the cells of a single batch; which one is drawn moves clusters, so several are."""
_FLOOR = 0.02
"""Least spread of a direction, as a share of the mean over directions: one in which like cells
hardly differ must not be blown up."""


def calibrate(network: Network, data: CountData, seed: int) -> None:
    """Rescale the latent of a trained network so that like cells are one unit apart.

    Like cells are mutual nearest neighbours between batches (Haghverdi et al. 2018,
    doi:10.1038/nbt.4091), or between two random halves of the cells if there is one batch; several
    such halvings are averaged. What they differ by is not type: the noise of counting, the state
    of the moment, the protocol. With S half the covariance of their differences, `embed` returns
    ``S^(-1/2) (z - mean(z))`` from now on, so that a direction counts for what it says about
    types, and not for what the decoder happened to make of it. Where batches differ, that shrinks
    too.

    Parameters
    ----------
    network
        Trained; its `latent_centre` and `latent_map` are set.
    data
        The training cells.
    seed
        Seeds the choice of cells and of halves.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    latent = embed(network, sample).astype(np.float64)
    centre = latent.mean(axis=0)
    to_units = np.eye(len(centre))
    for _ in range(_ROUNDS):
        groupings = [sample.batch]
        if len(np.unique(sample.batch)) == 1:
            halves = np.arange(sample.n_cells) % 2
            groupings = [rng.permutation(halves) for _ in range(_HALVINGS)]
        in_units = (latent - centre) @ to_units
        spread = np.mean([_spread(in_units, group) for group in groupings], axis=0)
        to_units = to_units @ _inverse_root(spread)
    with torch.no_grad():
        network.latent_centre.copy_(torch.as_tensor(centre))
        network.latent_map.copy_(torch.as_tensor(to_units))


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric ``covariance^(-1/2)``, its smallest variances lifted to the floor."""
    variance, directions = np.linalg.eigh(covariance)
    variance = np.maximum(variance, _FLOOR * variance.mean() + 1e-12)
    return directions @ np.diag(variance**-0.5) @ directions.T


def _spread(latent: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return half the covariance (d x d) of the differences of like cells of any two groups."""
    total, n_pairs = np.zeros((latent.shape[1],) * 2), 0
    members = [latent[group == code] for code in np.unique(group)]
    for i, one in enumerate(members):
        for other in members[:i]:
            rows, columns = _mutual_neighbours(one, other)
            difference = one[rows] - other[columns]
            total += difference.T @ difference
            n_pairs += len(rows)
    return total / (2 * max(n_pairs, 1))


def _mutual_neighbours(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of rows that are among each other's nearest neighbours."""
    k = int(min(_NEIGHBOURS, max(1, _SHARE * min(len(one), len(other)))))
    with threadpool_limits(limits=1, user_api="blas"):  # threads search; they add up nothing
        to_other, to_one = (
            NearestNeighbors(n_neighbors=k, algorithm="brute").fit(b).kneighbors_graph(a)
            for a, b in ((one, other), (other, one))
        )
    mutual = sparse.coo_matrix(to_other.multiply(to_one.T))
    return mutual.row, mutual.col
