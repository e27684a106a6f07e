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

    reference = BGFormer.load(options.model, device=options.device).fitted
    with results_written(options) as (cells, places, write):
        places.start(cells.n_obs, reference.settings.n_latent, len(reference.anchors))
        for latent in reference.embed(cells, layer=options.layer):
            places.add(latent, anchor_weights(latent, reference.anchors))
        labelled = reference.with_cells(*places.end())
        write(labelled, {"layer": options.layer, "predicted": True})
    if not options.quiet:
        found = labelled.partition
        print(
            f"bgformer: {len(found.labels)} cells in {len(set(found.labels))} of "
            f"{found.n_clusters} clusters",
            file=sys.stderr,
        )
