"""Retrain models on halves of the cells, to see which clusters are found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.fit.schedule import Objective
from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.graph.defaults import DEFAULT_RESOLUTION
from bgformer.graph.stability import OtherFit, sampled
from bgformer.network.anchor_weights import anchor_weights
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.prediction import NewCells
from bgformer.pipeline.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData


def fitted_to_half(adata: AnnData, params: dict[str, Any], draw: int) -> OtherFit:
    """Train a model on a random half of the cells, with its own seed.

    Parameters
    ----------
    adata
        The cells with their counts.
    params
        Parameters of the fit to repeat, from "params" in ``uns``.
    draw
        Number of the half; the same number gives the same half.

    Returns
    -------
    The anchor graph, and the weights of the cells `graph.stability.sampled` on its anchors.
    """
    given = dict(params)
    layer, batch_key = given.pop("layer", None), given.pop("batch_key", None)
    seed = int(given["seed"])
    drawn = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
    half = np.sort(np.random.default_rng(drawn).permutation(adata.n_obs)[: adata.n_obs // 2])
    # the number or resolution of the stored clusters is not used: the caller tries its own
    given |= {"n_clusters": "auto", "resolution": DEFAULT_RESOLUTION, "seed": drawn}
    given["objective"] = Objective(**given["objective"])
    fitted = fit_model(
        Settings(**given),
        adata[half].to_memory(),
        InMemoryPlaces(),
        layer=layer,
        batch_key=batch_key,
        verbose=False,
    )
    sample = adata[sampled(adata.n_obs, seed)].to_memory()
    latent = np.concatenate(list(fitted.embed(NewCells(fitted, sample, layer))))
    graph = AnchorGraph(fitted.weights, seed, fitted.settings.min_cells, fitted.links)
    return OtherFit(graph, anchor_weights(latent, fitted.anchors))
