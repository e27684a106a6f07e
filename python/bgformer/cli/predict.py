"""``bgformer predict``: new cells get the clusters of a reference."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bgformer.cli.outputs import check_outputs, results_written
from bgformer.messages import InputError

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse

    from bgformer.pipeline.fitted import Fitted
    from bgformer.store.labels import Labels
    from bgformer.store.looks import Looks


def predict(options: argparse.Namespace) -> None:
    """Label the cells of a file with a saved model, or with cells that hold one."""
    check_outputs(options)
    from bgformer.network.anchor_weights import anchor_weights
    from bgformer.pipeline.prediction import NewCells
    from bgformer.store.labels import check_labels

    reference, looks, labels = _reference(options)
    with results_written(options) as (cells, places, write):
        if options.output is not None:
            check_labels(cells, options.key_added, labels)
        places.start(cells.n_obs, reference.settings.n_latent, len(reference.anchors))
        new = NewCells(reference, cells, options.layer)
        for latent in reference.embed(new):
            places.add(latent, anchor_weights(latent, reference.anchors))
        labelled = reference.with_cells(*places.end()).scored(new)
        write(labelled, {"layer": options.layer, "predicted": True, "looks": looks}, labels)
    if not options.quiet:
        found = labelled.partition
        sizes = found.n_cells
        apart = len(found.labels) - sizes.sum()
        print(
            f"bgformer: {sizes.sum()} cells in {(sizes > 0).sum()} of {found.n_clusters} clusters"
            + (f", {apart} unassigned" if apart else ""),
            file=sys.stderr,
        )


def _reference(options: argparse.Namespace) -> tuple[Fitted, Looks, list[Labels]]:
    """Return a model, the looks of its clusters, and labels that its cells have."""
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.store import files, persistence
    from bgformer.store.labels import labels_in
    from bgformer.store.reference import reference_in

    path, key = options.reference, options.key_added
    if path.suffix not in (".h5ad", ".zarr") or persistence.holds_model(path):
        if options.labels:
            raise InputError(
                "labels-of-a-model",
                "{name[labels]} needs cells that have them; '{path}' is not an .h5ad file or a "
                ".zarr store.",
                path=path,
            )
        model = BGFormer.load(path, device=options.device)
        return model.fitted, model.looks, []
    with source.opened(path) as cells:
        if isinstance(cells, source.StoredCells):
            cells = files.read_results(cells, key, options.labels or ())
        fitted, looks = reference_in(cells, key, options.device)
        return fitted, looks, labels_in(cells, key, options.labels)
