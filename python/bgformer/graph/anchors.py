"""The anchors of the graph: how many there are, and where they lie among the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.fit.embedding import embed
from bgformer.fit.kmeans import kmeans_centres
from bgformer.messages import InputError
from bgformer.network.attention import anchor_weights
from bgformer.network.heads import N_HEADS, head_anchors, head_columns

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


MAX_ANCHORS = 512
"""Anchors of each head that "auto" chooses for all but the smallest data sets."""
CELLS_PER_ANCHOR = 5
"""With fewer cells per anchor of a head than this, "auto" takes fewer anchors."""
_ANCHOR_CELLS = 20_000
"""Cells that the anchors are set from."""


def choose_number(n_cells: int, n_anchors: int | str, n_clusters: int | str) -> int:
    """Return the number of anchors for n cells: the one given, or for "auto" a fitting one.

    Raises
    ------
    InputError
        If more anchors are asked for than there are cells, or cells that they are set from.
    """
    if n_anchors != "auto":
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
                "{name[n_anchors]} is {n_anchors}, but anchors are set from {most} cells; ask for "
                "no more than these.",
                n_anchors=n_anchors,
                most=_ANCHOR_CELLS,
            )
        return n_anchors
    of_head = max(2, min(MAX_ANCHORS, n_cells // CELLS_PER_ANCHOR))
    if n_clusters != "auto":
        of_head = max(of_head, min(n_cells // N_HEADS, 2 * n_clusters))
    return N_HEADS * of_head


def centres(network: Network, data: CountData, seed: int) -> np.ndarray:
    """Return the anchors, m x n_latent float32: first those of the linear head.

    They are k-means centres of the cells, in the columns of the latent that their head looks at.
    In the other columns stands the weighted mean of the cells that attend to them: attention does
    not look there, but it gives each anchor a place among the cells.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_ANCHOR_CELLS])
    latent = embed(network, data.rows(rows))
    anchors = np.zeros((network.n_anchors, latent.shape[1]), dtype=np.float32)
    for own, columns in zip(
        head_anchors(network.n_anchors), head_columns(latent.shape[1]), strict=True
    ):
        found = kmeans_centres(
            np.ascontiguousarray(latent[:, columns]), own.stop - own.start, seed
        )
        weights = anchor_weights(latent[:, columns], found, n_heads=1)
        total = np.maximum(np.asarray(weights.sum(axis=0)).T, 1e-12)
        anchors[own] = (weights.T @ latent) / total
        anchors[own, columns] = found
    return anchors
