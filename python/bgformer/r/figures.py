"""What R's plots ask of Python; `bridge` holds these functions for R."""

from __future__ import annotations

from typing import Any

import numpy as np

from bgformer.graph.anchor_graph import ISLAND, ONE_TYPE
from bgformer.graph.stability import RESOLUTIONS, over_resolutions
from bgformer.graph.umap import umap_of
from bgformer.r.answers import answering
from bgformer.r.plain import weights_of
from bgformer.runtime.threads import one_thread


@answering
def resolutions(weights: dict[str, Any], wanted: list[float] | None, seed: int) -> dict[str, Any]:
    """Return how many clusters each resolution gives, and how stable they are.

    Parameters
    ----------
    weights
        As in `bridge.recluster`.
    wanted
        Resolutions; None for those of :func:`bgformer.tl.resolutions`.
    seed
        As in :func:`bgformer.graph.stability.over_resolutions`.

    Returns
    -------
    ``resolution``, ``n_clusters`` and ``stability``, arrays.
    """
    with one_thread():
        tried = RESOLUTIONS if wanted is None else np.atleast_1d(wanted).tolist()
        table = over_resolutions(weights_of(weights), tried, seed)
    return {name: column.to_numpy(np.float64) for name, column in table.items()}


@answering
def umap(
    latent: np.ndarray, weights: dict[str, Any], anchors: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return ``places``, n x 2, as :func:`bgformer.tl.umap` stores them.

    Parameters
    ----------
    latent, anchors
        Of the cells, n x n_latent, and of the model, m x n_latent.
    weights
        As in `bridge.recluster`.
    seed
        Of the results.
    """
    return {"places": umap_of(latent, weights_of(weights), anchors, seed).astype(np.float64)}


@answering
def link_shares() -> dict[str, Any]:
    """Return the shares of links below which two clusters are apart, and above which they are one.

    Returns
    -------
    ``island`` and ``one_type``; see `anchor_graph`.
    """
    return {"island": ISLAND, "one_type": ONE_TYPE}
