"""Number and stability of clusters at each resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.graph.defaults import MIN_CELLS
from bgformer.graph.votes import vote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
_CELLS = 20_000
"""Maximum number of cells on which stability is measured."""
_DRAWS = 10


class OtherFit(NamedTuple):
    """A retrained model: its anchor graph, and the weights of the `sampled` cells on it."""

    graph: AnchorGraph
    weights: sparse.csr_matrix


def sampled(n_cells: int, seed: int) -> np.ndarray:
    """Return the cells on which stability is measured, ascending: all, or 20,000 at random."""
    return np.sort(np.random.default_rng(seed).permutation(n_cells)[:_CELLS])


def over_resolutions(
    weights: sparse.csr_matrix,
    resolutions: Sequence[float],
    seed: int,
    others: Sequence[OtherFit] = (),
    *,
    min_cells: int = MIN_CELLS,
) -> pd.DataFrame:
    """Return the number and the stability of the clusters at each resolution.

    Stability is the mean adjusted Rand index between the clusters of the cells and those of
    bootstrap samples of them (Hennig 2007, doi:10.1016/j.csda.2006.11.025). A value of 1 means
    that every sample gives the same clusters. It shows how much a partition depends on the cells
    measured. It does not show which of several stable resolutions is right. Anchors and latent
    are kept fixed; only retrained models show the variation between fits.

    Parameters
    ----------
    weights
        Weights of the cells on the anchors, CSR n x m, rows summing to 1.
    resolutions
        Resolutions to try.
    seed
        Seed for the bootstrap samples and Leiden.
    others
        Retrained models, with weights of the `sampled` cells.
    min_cells
        Minimum number of `sampled` cells in a cluster.

    Returns
    -------
    Table with a row for each resolution: "resolution", "n_clusters" and "stability". With
    `others`, "retrained" is the mean adjusted Rand index with their clusters.
    """
    sample = weights[sampled(weights.shape[0], seed)]
    n = sample.shape[0]
    rng = np.random.default_rng([seed, 1])
    graph = AnchorGraph(sample, seed, min_cells)
    draws = [
        AnchorGraph(sample[np.sort(rng.integers(n, size=n))], seed, min_cells)
        for _ in range(_DRAWS)
    ]
    rows = []
    for resolution in resolutions:
        labels = vote(sample, graph.holding_cells(graph.communities(resolution), min_cells))[0]
        agreement = [
            adjusted_rand_score(labels, vote(sample, draw.communities(resolution))[0])
            for draw in draws
        ]
        row = {"resolution": float(resolution), "n_clusters": int(labels.max()) + 1}
        row["stability"] = float(np.mean(agreement))
        if others:
            found = [
                vote(other.weights, other.graph.communities(resolution))[0] for other in others
            ]
            row["retrained"] = float(np.mean([adjusted_rand_score(labels, one) for one in found]))
        rows.append(row)
    return pd.DataFrame(rows)
