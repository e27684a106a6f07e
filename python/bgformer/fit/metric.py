"""The metric of the latent space: distances in units of the spread of similar cells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from bgformer.fit.embedding import raw_heads
from bgformer.runtime.threads import at_once

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network

_CELLS = 10_000
"""Maximum number of cells used to estimate the metric."""
_NEIGHBOURS = 5
"""Number of neighbours searched for similar cells. It is small, so that cells of a rare type pair
with each other, and it is limited to ..."""
_SHARE = 0.05
"""... this share of the cells of a group."""
_LEAST_SHARE = 0.01
"""Minimum factor on an axis that holds only noise, so that cells never all fall onto one point."""
_HALVINGS = (2, 4)
"""Number of random halvings of a single batch in each round of neighbour search; one alone in the
last round would make clusters depend on chance."""
_FLOOR = 0.02
"""Minimum variance of a direction, relative to the mean over directions, so that directions in
which similar cells hardly differ are not inflated."""
_LEAST_SPREAD = 1e-6
"""Minimum variance between similar cells, relative to 1 plus that between all cells. Identical
cells do not differ at all, and dividing by that would make latents too large for float32."""


def calibrate(network: Network, data: CountData, seed: int, *, trained: bool = False) -> None:
    """Set the metric of both heads, so that the spread of similar cells is 1.

    Parameters
    ----------
    network
        Its centres and maps are set in place. `Network.latent` then returns these units.
    data
        The training cells.
    seed
        Seed for the choice of cells and halves.
    trained
        Set the metric of the learned head only, because training does not change the linear head.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    for name, output in zip(("linear", "learned"), raw_heads(network, sample), strict=True):
        rounds = groupings(sample.batch, rng)
        if trained and name == "linear":
            continue
        if not trained and name == "learned":
            rounds = rounds[:1]  # enough to start training from; after it, they are set again
        centre, to_units = units(output.astype(np.float64), rounds)
        with torch.no_grad():
            getattr(network, f"{name}_centre").copy_(torch.as_tensor(centre))
            getattr(network, f"{name}_map").copy_(torch.as_tensor(to_units))


def groupings(batch: np.ndarray, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Return the groupings of the cells in each round: batches, or halves of a single batch."""
    if len(np.unique(batch)) > 1:
        return [[batch]] * len(_HALVINGS)
    halves = np.arange(len(batch)) % 2
    return [[rng.permutation(halves) for _ in range(number)] for number in _HALVINGS]


def units(output: np.ndarray, rounds: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (d,) and the map (d x d) that convert a head's output to metric units.

    Similar cells are mutual nearest neighbours between batches (Haghverdi et al. 2018,
    doi:10.1038/nbt.4091). With a single batch, they are mutual nearest neighbours between two
    random halves of the cells, averaged over several halvings. Their differences are not due to
    cell type but to counting noise, cell state and protocol. With S half the covariance of these
    differences, the output is whitened to ``y = S^(-1/2) (z - mean(z))``. This shrinks directions
    in which batches differ.

    Along an axis on which y has variance v, similar cells have variance 1, so the share
    ``(v - 1) / v`` is between types. Each axis is multiplied by this share, the best linear
    estimate of the between-type part given y (Wiener filter). Axes of noise thus count less.

    Parameters
    ----------
    output
        Output of a head, n x d.
    rounds
        Groupings of the cells for each round, shape (n,) each. Each round searches for neighbours
        in the metric of the round before.
    """
    centre = output.mean(axis=0)
    to_units = np.eye(len(centre))
    for ways in rounds:
        in_units = (output - centre) @ to_units
        spread = np.mean(at_once(partial(_spread, in_units), ways), axis=0)
        least = _LEAST_SPREAD * (1 + np.square(in_units).mean())
        to_units = to_units @ _inverse_root(spread, least)
    variance, directions = np.linalg.eigh(np.cov((output - centre) @ to_units, rowvar=False))
    between = np.clip((variance - 1) / np.maximum(variance, 1e-12), _LEAST_SHARE, 1)
    return centre, to_units @ (directions * between)


def _inverse_root(covariance: np.ndarray, least: float) -> np.ndarray:
    """Return the symmetric ``covariance^(-1/2)``; variances are at least `_FLOOR` and `least`."""
    variance, directions = np.linalg.eigh(covariance)
    variance = np.maximum(variance, max(_FLOOR * variance.mean() + 1e-12, least))
    return directions @ np.diag(variance**-0.5) @ directions.T


def _spread(latent: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return half the covariance (d x d) of differences between similar cells of two groups.

    All pairs of groups are pooled.
    """
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
    """Return pairs of rows that are among each other's nearest neighbours."""
    k = int(min(_NEIGHBOURS, max(1, _SHARE * min(len(one), len(other)))))
    to_other, to_one = (
        NearestNeighbors(n_neighbors=k, algorithm="brute").fit(b).kneighbors_graph(a)
        for a, b in ((one, other), (other, one))
    )
    mutual = sparse.coo_matrix(to_other.multiply(to_one.T))
    return mutual.row, mutual.col
