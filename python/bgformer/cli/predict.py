"""``bgformer predict``: new cells get the clusters of a saved model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bgformer.cli.outputs import check_outputs, results_written

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse


def predict(options: argparse.Namespace) -> None:
    """Label the cells of a file with a saved model and write them."""
    check_outputs(options)
    from bgformer.model import BGFormer
    from bgformer.network.anchor_weights import anchor_weights
    from bgformer.pipeline.prediction import NewCells

    reference = BGFormer.load(options.model, device=options.device).fitted
    with results_written(options) as (cells, places, write):
        places.start(cells.n_obs, reference.settings.n_latent, len(reference.anchors))
        new = NewCells(reference, cells, options.layer)
        for latent in reference.embed(new):
            places.add(latent, anchor_weights(latent, reference.anchors))
        labelled = reference.with_cells(*places.end()).scored(new)
        write(labelled, {"layer": options.layer, "predicted": True})
    if not options.quiet:
        found = labelled.partition
        sizes = found.n_cells
        apart = len(found.labels) - sizes.sum()
        print(
            f"bgformer: {sizes.sum()} cells in {(sizes > 0).sum()} of {found.n_clusters} clusters"
            + (f", {apart} unassigned" if apart else ""),
            file=sys.stderr,
        )
