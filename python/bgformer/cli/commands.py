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
    from bgformer.store.replacing import written_beside
    from bgformer.store.results import check_key

    reference = BGFormer.load(options.model, device=options.device).fitted
    with (
        written_beside(options.output, options.input) as partial,
        source.opened(options.input) as cells,
    ):
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


def check_target(output: Path, cells: Path, *, force: bool) -> None:
    """Raise before any work unless the output can be written."""
    from bgformer.store.replacing import check_replaceable, not_a_store, real

    # os.path says of what is in a closed folder that it is not there; Path raises
    suffix = ".zarr" if cells.suffix == ".zarr" else ".h5ad"
    if output.suffix != suffix:
        raise InputError(
            "wrong-suffix",
            "the output '{output}' must be named {suffix}, the format that is written.",
            output=output,
            suffix=suffix,
        )
    if os.path.isdir(output) and suffix != ".zarr":
        raise IsADirectoryError(f"the output '{output}' is a folder; give the name of a file.")
    if os.path.isfile(output) and suffix == ".zarr":
        raise FileExistsError(f"the output '{output}' is a file, not a store; give another name.")
    if os.path.exists(output) and not force:
        raise FileExistsError(f"'{output}' exists; give another name, or --force to overwrite it.")
    check_replaceable(real(output), not_a_store)
    if suffix == ".zarr" and _one_inside_the_other(output, cells):
        raise InputError(
            "inside-the-input",
            "the output '{output}' is inside the input, or the input is inside it; give another "
            "name.",
            output=output,
        )
    folder = real(output).parent
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder '{folder}' to write into; make it first.")


def check_model_target(folder: Path, options: argparse.Namespace) -> None:
    """Raise before any work unless the model can be saved there."""
    from bgformer.store import persistence
    from bgformer.store.replacing import check_writable, real

    for path in (options.output, options.input):
        if real(folder) == real(path) or _one_inside_the_other(folder, path):
            raise InputError(
                "one-path-twice",
                "{name[save_model]} is '{given}', which is also the input or the output, or "
                "inside one, or holds one; give another folder.",
                given=folder,
            )
    if os.path.exists(folder) and not options.force:
        raise FileExistsError(f"'{folder}' exists; give another name, or --force to replace it.")
    persistence.check_target(folder, overwrite=options.force)
    check_writable(folder)


def _one_inside_the_other(one: Path, other: Path) -> bool:
    """Tell whether one of two different paths is inside the other, with links followed."""
    from bgformer.store.replacing import real

    return real(one) in real(other).parents or real(other) in real(one).parents
