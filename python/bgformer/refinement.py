"""DEC refinement of a trained network, kept only if it helps by a measure without labels."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score

from bgformer.anchors import Placement, anchor_weights, place, vote
from bgformer.metric import calibrate
from bgformer.training import embed, train

if TYPE_CHECKING:
    from scipy import sparse

    from bgformer.anchors import Partition
    from bgformer.counts import CountData
    from bgformer.network import Network
    from bgformer.progress import Progress
    from bgformer.training import Objective, Schedule

_LEARNING_RATE = 3e-4
"""Lower than in training: the refinement moves cells, it does not learn their counts anew."""


class Refined(NamedTuple):
    """What the refinement came to: `network` and `placed` count only if it was `kept`."""

    network: Network
    placed: Placement
    kept: bool
    report: str


def refine(
    network: Network,
    data: CountData,
    placed: Placement,
    found: Partition,
    *,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    progress: Progress,
) -> Refined:
    """Train a copy of the network on with DEC, and say whether its clusters are better supported.

    The clusters found so far give DEC its first centroids. Support is how well clusters can be
    told from part of the genes; see `support`.

    Parameters
    ----------
    network, data
        The trained network, which is not changed, and its training cells.
    placed, found
        The cells among the anchors, and their clusters.
    objective, schedule, seed, progress
        As in training.
    """
    clusters = range(found.labels.max() + 1)
    centroids = np.stack(
        [placed.latent[found.labels == cluster].mean(axis=0) for cluster in clusters]
    )
    refined = copy.deepcopy(network)
    train(
        refined,
        data,
        objective=objective,
        schedule=replace(schedule, learning_rate=_LEARNING_RATE),
        seed=seed,
        progress=progress,
        centroids=centroids.astype(np.float32),
    )
    calibrate(refined, data, seed)
    placed_after = place(refined, data, seed)
    # The clusters to compare are the same cells' clusters, carried over to the new anchors, so
    # that a change in their number cannot pass for a change in support.
    carried = carry(placed_after.weights, found.labels)
    before = support(network, data, placed, found.anchor_clusters, seed)
    after = support(refined, data, placed_after, carried, seed)
    kept = after > before
    report = (
        f"DEC {'kept' if kept else 'discarded'}: support {before:.3f} before, {after:.3f} after"
    )
    return Refined(refined, placed_after, kept, report)


def carry(weights: sparse.csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Return for each anchor the cluster that most of its weight comes from, shape (m,)."""
    member = np.eye(labels.max() + 1)[labels]
    return np.asarray(weights.T @ member).argmax(axis=1)


def support(
    network: Network, data: CountData, placed: Placement, anchor_clusters: np.ndarray, seed: int
) -> float:
    """Return how well clusters can be told from part of the genes, by an ARI without labels.

    The cells are embedded twice, each time without a random half of the genes, no gene missing
    twice; the ARI compares the clusters that the two embeddings fall into.
    """
    half = np.random.default_rng(seed).permutation(data.n_genes) < data.n_genes // 2
    one, other = (
        vote(anchor_weights(embed(network, data, keep), placed.anchors), anchor_clusters)[0]
        for keep in (half, ~half)
    )
    return float(adjusted_rand_score(one, other))
