"""``bgformer cluster`` and ``bgformer predict``."""

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


def cluster(options: argparse.Namespace) -> None:
    """Fit a model to the cells of a file and write them with the results."""
    _check_target(options.output, options.input, force=options.force)
    if options.save_model is not None:
        if options.save_model.resolve() in (options.output.resolve(), options.input.resolve()):
            raise InputError(
                "one-path-twice",
                "{name[save_model]} is '{given}', which is also the input or the output; give "
                "another folder.",
                given=options.save_model,
            )
        _check_model_target(options.save_model, force=options.force)
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.pipeline.fitting import fit_model, help_to_fit
    from bgformer.pipeline.settings import Settings
    from bgformer.runtime import ranks
    from bgformer.store import files
    from bgformer.store.results import check_key

    names = Settings.__dataclass_fields__
    settings = Settings(**{name: value for name, value in vars(options).items() if name in names})
    what = {"layer": options.layer, "batch_key": getattr(options, "batch_key", None)}
    with (
        ranks.started(),
        files.written_beside(options.output, write=ranks.index() == 0) as partial,
        source.opened(options.input) as cells,
    ):
        check_key(cells, options.key_added)
        if ranks.index() > 0:
            help_to_fit(settings, cells, **what)
            return  # the first rank writes
        with _written(cells, options, partial) as (places, write):
            fitted = fit_model(settings, cells, places, **what, verbose=not options.quiet)
            write(fitted, what)
            if options.save_model is not None:
                BGFormer.of(fitted).save(options.save_model, overwrite=options.force)


def predict(options: argparse.Namespace) -> None:
    """Label the cells of a file with a saved model and write them."""
    _check_target(options.output, options.input, force=options.force)
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.network.anchor_weights import anchor_weights
    from bgformer.store import files
    from bgformer.store.results import check_key

    reference = BGFormer.load(options.model, device=options.device).fitted
    with files.written_beside(options.output) as partial, source.opened(options.input) as cells:
        check_key(cells, options.key_added)
        with _written(cells, options, partial) as (places, write):
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
def _written(
    cells: AnnData | StoredCells, options: argparse.Namespace, partial: Path
) -> Iterator[tuple[Places, Callable[[Fitted, dict[str, str | None]], None]]]:
    """Give where latent and weights go, and a function that writes the rest of the results."""
    from bgformer.data import parts
    from bgformer.data.source import StoredCells
    from bgformer.pipeline.places import InMemoryPlaces
    from bgformer.store import files, results

    key = options.key_added
    if isinstance(cells, StoredCells):
        parts.check_parts(options.input, options.layer)
        with files.StoredResults(options.input, partial, key, options.output) as stored:

            def write_into_copy(fitted: Fitted, what: dict[str, str | None]) -> None:
                found = fitted.partition
                columns = results.columns(key, found)
                stored.describe(key, columns, results.described(fitted, **what))

            yield stored, write_into_copy
        return

    def write_file(fitted: Fitted, what: dict[str, str | None]) -> None:
        results.store(cells, fitted, key, **what)
        files.write_h5ad(cells, partial, options.output)

    yield InMemoryPlaces(), write_file


def _check_target(output: Path, cells: Path, *, force: bool) -> None:
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


def _check_model_target(folder: Path, *, force: bool) -> None:
    """Raise before any work unless the model can be saved there."""
    from bgformer.store import persistence

    if folder.exists() and not force:
        raise FileExistsError(f"'{folder}' exists; give another name, or --force to replace it.")
    persistence.check_target(folder, overwrite=force)
