"""DEC refinement: further training of the learned head towards the clusters found so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.fit.embedding import learned_units
from bgformer.fit.metric import calibrate
from bgformer.fit.trainer import train

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.fit.schedule import Objective, Schedule
    from bgformer.network.network import Network
    from bgformer.runtime.progress import Progress


def refine(
    network: Network,
    data: CountData,
    labels: np.ndarray,
    *,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    progress: Progress,
) -> None:
    """Continue training with the DEC term, in place. DEC starts from the means of the clusters.

    Parameters
    ----------
    network, data
        The trained network and its training cells.
    labels
        Cluster of each of these cells, from 0, shape (n,).
    objective, schedule, seed, progress
        As in `fit.trainer.train`.
    """
    units = learned_units(network, data)
    centroids = [units[labels == cluster].mean(axis=0) for cluster in np.unique(labels)]
    train(
        network,
        data,
        objective=objective,
        schedule=schedule,
        seed=seed,
        progress=progress,
        centroids=np.stack(centroids).astype(np.float32),
    )
    calibrate(network, data, seed, trained=True)
