"""The anchors of the graph: their number, and their positions in the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.fit.embedding import embed
from bgformer.fit.kmeans import kmeans_centres
from bgformer.messages import InputError
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import N_HEADS, head_anchors, head_columns
from bgformer.runtime.threads import at_once

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
    heads = list(zip(head_anchors(network.n_anchors), head_columns(latent.shape[1]), strict=True))

    def of_head(head: tuple[slice, slice]) -> np.ndarray:
        own, columns = head
        points = np.ascontiguousarray(latent[:, columns])
        found = kmeans_centres(points, own.stop - own.start, seed)
        weights = anchor_weights(points, found, n_heads=1)
        total = np.maximum(np.asarray(weights.sum(axis=0)).T, 1e-12)
        anchors = ((weights.T @ latent) / total).astype(np.float32)
        anchors[:, columns] = found
        return anchors

    return np.concatenate(at_once(of_head, heads))
