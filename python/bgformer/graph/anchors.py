"""The anchors of the graph: their number, and their positions in the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.fit.embedding import embed
from bgformer.fit.kmeans import kmeans_of_each
from bgformer.messages import InputError
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import N_HEADS, head_anchors, head_columns

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


MAX_ANCHORS = 512
"""Number of anchors per head for "auto", except in small data sets."""
CELLS_PER_ANCHOR = 5
"""Minimum number of cells per anchor of a head for "auto"; with fewer, there are fewer anchors."""
_ANCHOR_CELLS = 20_000
"""Maximum number of cells from which the anchors are computed."""


def choose_number(n_cells: int, n_anchors: int | str, n_clusters: int | str) -> int:
    """Return the total number of anchors of both heads: the one given, or chosen for "auto".

    Raises
    ------
    ValueError
        If `n_anchors` exceeds the number of cells, or of cells from which anchors are computed.
    """
    if isinstance(n_anchors, int):
        if n_anchors > n_cells:
            raise InputError(
                "too-many-anchors",
                "{name[n_anchors]} is {n_anchors}, but there are only {n_cells} cells.",
                n_anchors=n_anchors,
                n_cells=n_cells,
            )
        if n_anchors > _ANCHOR_CELLS:
            raise InputError(
                "too-many-anchors",
                "{name[n_anchors]} is {n_anchors}, but anchors are set from {most} cells; use at "
                "most this many.",
                n_anchors=n_anchors,
                most=_ANCHOR_CELLS,
            )
        return n_anchors
    of_head = max(2, min(MAX_ANCHORS, n_cells // CELLS_PER_ANCHOR))
    if isinstance(n_clusters, int):
        of_head = max(of_head, min(n_cells // N_HEADS, 2 * n_clusters))
    return N_HEADS * of_head


def centres(network: Network, data: CountData, seed: int) -> np.ndarray:
    """Return the anchors, m x n_latent float32, those of the linear head first.

    In the latent columns of its own head, an anchor is a k-means centre of the cells. In the other
    columns it is the weighted mean of the cells that attend to it. Attention does not use these,
    but they give each anchor a position in the whole latent space.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_ANCHOR_CELLS])
    latent = embed(network, data.rows(rows))
    anchors = np.zeros((network.n_anchors, latent.shape[1]), dtype=np.float32)
    heads = list(zip(head_anchors(network.n_anchors), head_columns(latent.shape[1]), strict=True))
    points = [np.ascontiguousarray(latent[:, columns]) for _, columns in heads]
    numbers = [own.stop - own.start for own, _ in heads]
    of_each = kmeans_of_each(list(zip(points, numbers, strict=True)), seed)
    for (own, columns), cells, found in zip(heads, points, of_each, strict=True):
        weights = anchor_weights(cells, found, n_heads=1)
        total = np.maximum(np.asarray(weights.sum(axis=0)).T, 1e-12)
        anchors[own] = (weights.T @ latent) / total
        anchors[own, columns] = found
    return anchors
