"""``bgformer predict``, and what it shares with ``bgformer cluster``."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bgformer.messages import InputError

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData

    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted
    from bgformer.pipeline.places import Places


def predict(options: argparse.Namespace) -> None:
    """Label the cells of a file with a saved model and write them."""
    check_target(options.output, options.input, force=options.force)
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.network.anchor_weights import anchor_weights
    from bgformer.store import files
    from bgformer.store.results import check_key

    reference = BGFormer.load(options.model, device=options.device).fitted
    with files.written_beside(options.output) as partial, source.opened(options.input) as cells:
        check_key(cells, options.key_added)
        with written(cells, options, partial) as (places, write):
            places.start(cells.n_obs, reference.settings.n_latent, len(reference.anchors))
            for latent in reference.embed(cells, layer=options.layer):
                places.add(latent, anchor_weights(latent, reference.anchors))
            labelled = reference.with_cells(*places.end())
            write(labelled, {"layer": options.layer})
    if not options.quiet:
        found = labelled.partition
        print(
            f"bgformer: {len(found.labels)} cells in {len(set(found.labels))} of "
            f"{found.n_clusters} clusters",
            file=sys.stderr,
        )


@contextmanager
def written(
    cells: AnnData | StoredCells, options: argparse.Namespace, partial: Path
) -> Iterator[tuple[Places, Callable[[Fitted, dict[str, str | None]], None]]]:
    """Give where latent and weights go, and a function that writes the rest of the results."""
    from bgformer.data.source import StoredCells
    from bgformer.pipeline.places import InMemoryPlaces
    from bgformer.store import files, results

    key = options.key_added
    if isinstance(cells, StoredCells):
        with files.StoredResults(options.input, partial, key) as stored:

            def write_into_copy(fitted: Fitted, what: dict[str, str | None]) -> None:
                found = fitted.partition
                columns = results.columns(key, found)
                stored.describe(key, columns, results.described(fitted, **what))

            yield stored, write_into_copy
        return

    def write_file(fitted: Fitted, what: dict[str, str | None]) -> None:
        results.store(cells, fitted, key, **what)
        cells.write_h5ad(partial)

    yield InMemoryPlaces(), write_file


def check_target(output: Path, cells: Path, *, force: bool) -> None:
    """Raise before any work unless the output can be written."""
    suffix = ".zarr" if cells.suffix == ".zarr" else ".h5ad"
    if output.suffix != suffix:
        raise InputError(
            "wrong-suffix",
            "the output '{output}' must be named {suffix}, the format that is written.",
            output=output,
            suffix=suffix,
        )
    if output.is_dir() and suffix != ".zarr":
        raise IsADirectoryError(f"the output '{output}' is a folder; give the name of a file.")
    if output.exists() and not force:
        raise FileExistsError(f"'{output}' exists; give another name, or --force to overwrite it.")
    folder = output.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}' to write into; make it first.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"folder '{folder}' cannot be written to; choose another one.")


def check_model_target(folder: Path, *, force: bool) -> None:
    """Raise before any work unless the model can be saved there."""
    from bgformer.store import persistence

    if folder.exists() and not force:
        raise FileExistsError(f"'{folder}' exists; give another name, or --force to replace it.")
    persistence.check_target(folder, overwrite=force)
