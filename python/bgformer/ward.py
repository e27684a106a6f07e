"""Ward's tree over the anchors, which can be cut into any number of clusters."""

from __future__ import annotations

import numpy as np


def merges(anchors: np.ndarray, n_cells: np.ndarray) -> np.ndarray:
    """Return which anchors are merged, in the order of Ward's criterion.

    Each step merges the two clusters whose union adds least to the sum of squared distances of
    the cells to their cluster's centre, ``n_a n_b / (n_a + n_b) ||c_a - c_b||^2`` (Ward 1963,
    doi:10.1080/01621459.1963.10500845), an anchor counting for all cells that are nearest to it.
    Libraries build this tree with one cell per leaf only, which on anchors gives other clusters.

    Parameters
    ----------
    anchors
        m x d.
    n_cells
        Cells of each anchor, shape (m,).

    Returns
    -------
    (m - 1) x 2: of each merge, the anchor that names the union and the one whose name is lost.
    """
    centre, m = anchors.astype(np.float64), len(anchors)
    size = np.maximum(n_cells, 1e-6)  # an anchor without cells goes to the nearest one, first
    alive = np.ones(m, dtype=bool)

    def cost(a: int) -> np.ndarray:
        square = np.square(centre - centre[a]).sum(axis=1)
        added = square * size * size[a] / (size + size[a])
        return np.where(alive & (np.arange(m) != a), added, np.inf)

    costs = np.stack([cost(a) for a in range(m)])
    order = np.empty((m - 1, 2), dtype=np.int64)
    for step in range(m - 1):
        a, b = np.unravel_index(costs.argmin(), costs.shape)
        order[step] = a, b
        centre[a] = (size[a] * centre[a] + size[b] * centre[b]) / (size[a] + size[b])
        size[a] += size[b]
        alive[b] = False
        costs[b], costs[:, b] = np.inf, np.inf
        costs[a] = costs[:, a] = cost(a)
    return order


def cut(order: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return the cluster of each anchor, shape (m,), after all but `n_clusters` - 1 merges."""
    clusters = np.arange(len(order) + 1)
    for kept, lost in order[: len(clusters) - n_clusters]:
        clusters[clusters == lost] = kept
    return np.unique(clusters, return_inverse=True)[1]
