"""How many clusters each resolution gives, and how surely they would be found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from bgformer.anchors import vote
from bgformer.communities import AnchorGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
_CELLS = 20_000
"""Cells that are drawn from, if there are more."""
_DRAWS = 10


def over_resolutions(
    weights: sparse.csr_matrix, resolutions: Sequence[float], seed: int
) -> pd.DataFrame:
    """Return the number and the stability of the clusters at each resolution.

    Stability is the mean adjusted Rand index between the clusters of the cells and those found
    when as many cells are drawn from them with replacement (Hennig 2007,
    doi:10.1016/j.csda.2006.11.025); 1 means that the same cells come together every time. It says
    how much of a partition is due to the cells that happened to be measured, not which of several
    stable resolutions is the right one.

    Parameters
    ----------
    weights
        Weights of the cells on the anchors, CSR n x m, rows summing to 1.
    resolutions
        At which to cluster.
    seed
        Seeds the draws and Leiden.

    Returns
    -------
    "resolution", "n_clusters" and "stability", a row for each resolution.
    """
    rng = np.random.default_rng(seed)
    sample = weights[np.sort(rng.permutation(weights.shape[0])[:_CELLS])]
    n = sample.shape[0]
    graph = AnchorGraph(sample, seed)
    draws = [AnchorGraph(sample[np.sort(rng.integers(n, size=n))], seed) for _ in range(_DRAWS)]
    rows = []
    for resolution in resolutions:
        labels = vote(sample, graph.communities(resolution))[0]
        agreement = [
            adjusted_rand_score(labels, vote(sample, draw.communities(resolution))[0])
            for draw in draws
        ]
        rows.append((float(resolution), int(labels.max()) + 1, float(np.mean(agreement))))
    return pd.DataFrame(rows, columns=["resolution", "n_clusters", "stability"])
