"""How clusters split as the resolution grows, for R."""

from __future__ import annotations

from typing import Any

import numpy as np

from bgformer.graph.levels import levels
from bgformer.graph.tree import RESOLUTIONS
from bgformer.graph.tree import tree as tree_of
from bgformer.graph.tree_layout import SMALLEST, layout
from bgformer.r.answers import answering
from bgformer.r.plain import columns_of, held_in, looks_of, weights_of
from bgformer.runtime.threads import one_thread
from bgformer.store.palette import colours_at_levels


@answering
def tree(
    weights: dict[str, Any],
    wanted: np.ndarray | None,
    seed: int,
    model: bytes,
    before: dict[str, Any],
) -> dict[str, Any]:
    """Return how clusters split as the resolution grows, and where the tree is drawn.

    Parameters
    ----------
    weights, seed, model, before
        As in `bridge.recluster`.
    wanted
        Resolutions in ascending order; None for those of :func:`bgformer.tl.tree`.

    Returns
    -------
    ``nodes`` and ``edges``, the columns of the tables of :func:`bgformer.tl.tree`. ``drawing``
    has ``rows``, ``nodes`` and ``edges``, the columns of `tree_layout.Drawing`, with a "colour"
    for each node, ``width``, and ``smallest``, the least diameter. A missing parent is an empty
    text.
    """
    held, of_cells = held_in(model, weights["shape"][1]), weights_of(weights)
    with one_thread():
        found = levels(
            of_cells,
            RESOLUTIONS if wanted is None else np.atleast_1d(wanted).tolist(),
            seed,
            min_cells=held.min_cells,
            unassigned=np.atleast_1d(before["unassigned"]).astype(bool),
        )
    made = tree_of(found, held.out, held.genes)
    colours = colours_at_levels(
        looks_of(before).colours,
        np.array(before["anchor_clusters"], dtype=np.int64),
        found,
        np.asarray(of_cells.sum(axis=0)).ravel(),
    )
    drawn = layout(made._replace(nodes=made.nodes.assign(colour=colours)))
    return {
        "nodes": columns_of(made.nodes.fillna({"parent": ""})),
        "edges": columns_of(made.edges),
        "drawing": {
            "rows": columns_of(drawn.rows),
            "nodes": columns_of(drawn.nodes.fillna({"parent": ""})),
            "edges": columns_of(drawn.edges),
            "width": drawn.width,
            "smallest": SMALLEST,
        },
    }
