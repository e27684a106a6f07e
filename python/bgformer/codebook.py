"""The anchor tokens during training: set from data, and revived when no cell uses them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

if TYPE_CHECKING:
    from bgformer.network import Network


def kmeans_centres(points: np.ndarray, n_centres: int, seed: int) -> np.ndarray:
    """Return the centres of a k-means of `points` (n x d), float32 of shape (n_centres, d).

    One thread, because the order of a parallel sum would change the last digits and with them,
    some steps later, the clusters.
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Cells that are alike to the last digit leave some centres alike: that does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(n_centres, n_init=1, max_iter=30, random_state=seed).fit(points)
    return fitted.cluster_centers_.astype(np.float32)


def set_anchors(network: Network, query: torch.Tensor, seed: int) -> None:
    """Set the anchors to k-means centres of encoded cells (n x d) and put them in use."""
    centres = kmeans_centres(query.cpu().numpy(), network.anchors.shape[0], seed)
    with torch.no_grad():
        network.anchors.copy_(torch.as_tensor(centres))
        network.anchors_ready.fill_(True)


class Revival:
    """Count which anchors cells commit to, and move the ones that none does.

    Parameters
    ----------
    network
        The network whose anchors are watched.
    every
        Steps between two looks.
    """

    def __init__(self, network: Network, every: int) -> None:
        self.network = network
        self.every = every
        self.used = torch.zeros(network.anchors.shape[0], device=network.anchors.device)
        self.steps = 0

    def observe(
        self, query: torch.Tensor, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> int:
        """Count the nearest anchors of a batch (b x d); every so often revive the unused.

        A dead anchor moves to a random cell of the batch, and the optimiser's running means for
        it are cleared: kept, they would pull it back to where it died.

        Returns
        -------
        The number of anchors revived.
        """
        anchors = self.network.anchors
        with torch.no_grad():
            nearest = (F.normalize(query, dim=1) @ F.normalize(anchors, dim=1).T).argmax(1)
            self.used.index_add_(0, nearest, torch.ones_like(nearest, dtype=self.used.dtype))
            self.steps += 1
            if self.steps % self.every:
                return 0
            dead = torch.nonzero(self.used == 0).ravel()
            self.used.zero_()
            if len(dead):
                cells = torch.randint(len(query), (len(dead),), generator=generator)
                anchors[dead] = query[cells.to(query.device)]
                for moment in ("exp_avg", "exp_avg_sq"):
                    if moment in optimizer.state.get(anchors, {}):
                        optimizer.state[anchors][moment][dead] = 0
            return len(dead)
