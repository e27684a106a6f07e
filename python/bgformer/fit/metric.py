"""The metric of the latent: distances in units of how far apart like cells lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from bgformer.fit.embedding import raw_heads

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network

_CELLS = 10_000
"""Cells that the metric is measured on."""
_NEIGHBOURS = 5
"""Neighbours among which like cells are sought, few so that a rare type stays among its own, and
no more than ..."""
_SHARE = 0.05
"""... this share of the cells of a group."""
_LEAST_SHARE = 0.01
"""An axis of nothing but noise keeps this much, so that cells never all fall onto one point."""
_ROUNDS = 2
"""Times that neighbours are sought."""
_HALVINGS = 4
"""Ways to halve the cells of a single batch; which one is drawn moves clusters, so several are."""
_FLOOR = 0.02
"""Least spread of a direction, as a share of the mean over directions: one in which like cells
hardly differ must not be blown up."""


def calibrate(network: Network, data: CountData, seed: int, *, trained: bool = False) -> None:
    """Set the metric of both heads, so that like cells are one unit apart.

    Parameters
    ----------
    network
        Its centres and maps are set: `latent` is in units from now on.
    data
        The training cells.
    seed
        Seeds the choice of cells and of halves.
    trained
        Set that of the learned head alone: training does not move the linear one.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    for name, output in zip(("linear", "learned"), raw_heads(network, sample), strict=True):
        rounds = groupings(sample.batch, rng)
        if trained and name == "linear":
            continue
        centre, to_units = units(output.astype(np.float64), rounds)
        with torch.no_grad():
            getattr(network, f"{name}_centre").copy_(torch.as_tensor(centre))
            getattr(network, f"{name}_map").copy_(torch.as_tensor(to_units))


def groupings(batch: np.ndarray, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Return the ways to group the cells in each round: by batch, or in halves if there is one."""
    if len(np.unique(batch)) > 1:
        return [[batch]] * _ROUNDS
    halves = np.arange(len(batch)) % 2
    return [[rng.permutation(halves) for _ in range(_HALVINGS)] for _ in range(_ROUNDS)]


def units(output: np.ndarray, rounds: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (d,) and the map (d x d) that put a head's output into units.

    Like cells are mutual nearest neighbours between batches (Haghverdi et al. 2018,
    doi:10.1038/nbt.4091), or between two random halves of the cells if there is one batch; several
    such halvings are averaged. What they differ by is not type: the noise of counting, the state
    of the moment, the protocol. With S half the covariance of their differences, the output is
    whitened to ``y = S^(-1/2) (z - mean(z))``, so that a direction counts for what it says about
    types. Where batches differ, that shrinks too.

    Along an axis on which y has variance v, like cells still differ by 1, so the share
    ``(v - 1) / v`` of it is between types. Each axis is multiplied by this share, the best linear
    guess of what is between types given y (the Wiener filter), so that axes of noise count less.

    Parameters
    ----------
    output
        Output of a head, n x d.
    rounds
        For each round the ways to group the cells, shape (n,) each. The neighbours are sought
        again in the metric that those of the round before gave.
    """
    centre = output.mean(axis=0)
    to_units = np.eye(len(centre))
    for ways in rounds:
        in_units = (output - centre) @ to_units
        spread = np.mean([_spread(in_units, group) for group in ways], axis=0)
        to_units = to_units @ _inverse_root(spread)
    variance, directions = np.linalg.eigh(np.cov((output - centre) @ to_units, rowvar=False))
    between = np.clip((variance - 1) / np.maximum(variance, 1e-12), _LEAST_SHARE, 1)
    return centre, to_units @ (directions * between)


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
