"""What a command writes: checks before any work, and outputs that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bgformer.messages import InputError

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from anndata import AnnData

    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted
    from bgformer.pipeline.places import Places
    from bgformer.store.labels import Labels, Predicted

    _Store: TypeAlias = Callable[[Fitted, dict[str, Any], Predicted], None]

_OF_CELLS = "cell"
"""The column of the table that holds the names of the cells."""


@contextmanager
def opened(
    options: argparse.Namespace,
) -> Iterator[tuple[AnnData | StoredCells, Path | None, Callable[[dict[str, Any]], None]]]:
    """Open the input, and give the outputs their names when all has succeeded.

    Gives the cells, the path to write the output to (None if only a table is asked for), and a
    function that writes columns of ``obs`` as the table, if one is asked for.
    """
    from bgformer.data import source
    from bgformer.store.replacing import written_beside
    from bgformer.store.tables import write_csv

    with ExitStack() as stack:
        output, table = (
            None if path is None else stack.enter_context(written_beside(path, options.input))
            for path in (options.output, options.csv)
        )
        cells = stack.enter_context(source.opened(options.input))

        def write_table(columns: dict[str, Any]) -> None:
            if table is not None:
                write_csv(table, {_OF_CELLS: cells.obs_names, **columns}, options.csv)

        yield cells, output, write_table


@contextmanager
def results_written(
    options: argparse.Namespace,
) -> Iterator[tuple[AnnData | StoredCells, Places, Callable[..., None]]]:
    """Open the input; give its cells, where latent and weights go, and what writes the rest.

    That is given the model with these cells, what `store.results.store` takes, and labels that
    they get.
    """
    from bgformer.store import results
    from bgformer.store.labels import labels_before, predicted

    with opened(options) as (cells, partial, write_table):
        check_names(cells, options)
        with _stored(cells, options, partial) as (places, store):

            def write(fitted: Fitted, what: dict[str, Any], labels: Sequence[Labels] = ()) -> None:
                more = predicted(labels, fitted, labels_before(cells, options.key_added))
                store(fitted, what, more)
                found = results.columns(options.key_added, fitted.partition, what.get("looks"))
                write_table(found | more.columns)

            yield cells, places, write


@contextmanager
def _stored(
    cells: AnnData | StoredCells, options: argparse.Namespace, partial: Path | None
) -> Iterator[tuple[Places, _Store]]:
    """Give where latent and weights go, and what writes all results into the output."""
    from bgformer.data import parts
    from bgformer.data.source import StoredCells
    from bgformer.pipeline.places import InMemoryPlaces
    from bgformer.store import files, results
    from bgformer.store.looks import colours_name, new_looks

    key = options.key_added
    if partial is None:
        yield InMemoryPlaces(), lambda fitted, what, more: None
    elif isinstance(cells, StoredCells):
        counts = "X" if options.layer is None else f"layers/{options.layer}"
        parts.check_parts(options.input, read_later=counts)
        with files.StoredResults(options.input, partial, key, options.output) as stored:

            def write_into_copy(fitted: Fitted, what: dict[str, Any], more: Predicted) -> None:
                looks = what.get("looks") or new_looks(fitted.partition.n_clusters)
                columns = results.columns(key, fitted.partition, looks) | more.columns
                entries = {colours_name(key): looks.colours_of(columns[key])} | more.entries
                described = results.described(fitted, **what) | more.note
                stored.describe(columns, {key: described, **entries})

            yield stored, write_into_copy
    else:

        def write_file(fitted: Fitted, what: dict[str, Any], more: Predicted) -> None:
            results.store(cells, fitted, key, **what)
            more.add_to(cells, key)
            files.write_cells(cells, partial, options.output)

        yield InMemoryPlaces(), write_file


def check_names(cells: AnnData | StoredCells, options: argparse.Namespace) -> None:
    """Raise InputError unless results may have their name; a table alone covers nothing."""
    from bgformer.store.naming import check_name
    from bgformer.store.results import check_key

    if options.output is None:
        check_name(cells, options.key_added, "key_added", "the results")
    else:
        check_key(cells, options.key_added)


def check_outputs(options: argparse.Namespace, *, force: bool | None = None) -> None:
    """Raise before any work unless the outputs can be written.

    Parameters
    ----------
    options
        The options, with all paths of the command.
    force
        Whether outputs that are there may be replaced; None to let the options say so.
    """
    force = options.force if force is None else force
    if options.output is None and options.csv is None:
        raise InputError(
            "missing-argument",
            "the output is missing; give -o OUT.h5ad, or --csv OUT.csv for the clusters alone.",
        )
    if options.output is not None:
        _check_target(options.output, options.input, force=force)
    if options.csv is not None:
        check_table(options, force=force)
        _check_column(options)


def check_table(options: argparse.Namespace, *, force: bool) -> None:
    """Raise unless the table can be written, and is none of the other paths."""
    from bgformer.store.replacing import check_writable, real

    table = options.csv
    others = [path for path in vars(options).values() if isinstance(path, Path)]
    others.remove(table)
    if table.suffix != ".csv":
        raise InputError("wrong-suffix", "the table '{table}' must be named .csv.", table=table)
    for path in others:
        if real(table) == real(path) or _one_inside_the_other(table, path):
            raise InputError(
                "one-path-twice",
                "the table '{table}' is also '{path}', or inside it, or holds it; give another "
                "name.",
                table=table,
                path=path,
            )
    if os.path.isdir(table):
        raise IsADirectoryError(f"the table '{table}' is a folder; give the name of a file.")
    _check_free(table, force=force)
    check_writable(table)


def _check_column(options: argparse.Namespace) -> None:
    """Raise unless the columns of the table have other names than the cells' column."""
    named = {"key_added": [options.key_added], "labels": getattr(options, "labels", None) or []}
    if getattr(options, "cluster_name", None) is not None:
        named = {"cluster_name": [options.cluster_name]}
    for argument in (argument for argument, names in named.items() if _OF_CELLS in names):
        raise InputError(
            "wrong-name",
            f"{{name[{argument}]}} is '{{given}}', the column of the table with the names of the "
            "cells; choose another.",
            given=_OF_CELLS,
        )


def _check_target(output: Path, cells: Path, *, force: bool) -> None:
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
    _check_free(output, force=force)
    check_replaceable(real(output), not_a_store)
    if suffix == ".zarr" and _one_inside_the_other(output, cells):
        raise InputError(
            "inside-the-input",
            "the output '{output}' is inside the input, or the input is inside it; give another "
            "name.",
            output=output,
        )


def _check_free(output: Path, *, force: bool) -> None:
    """Raise unless the output is not there, or may be replaced, and its folder is there."""
    from bgformer.store.replacing import real

    if os.path.exists(output) and not force:
        raise FileExistsError(f"'{output}' exists; give another name, or --force to overwrite it.")
    folder = real(output).parent
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder '{folder}' to write into; make it first.")


def check_model_target(folder: Path, options: argparse.Namespace) -> None:
    """Raise before any work unless the model can be saved there."""
    from bgformer.store import persistence
    from bgformer.store.replacing import check_writable, real

    for path in filter(None, (options.output, options.input)):
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
