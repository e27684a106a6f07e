"""``bgformer cluster``: a new run, or one that was interrupted."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgformer.cli.outputs import check_model_target, check_names, check_outputs, results_written
from bgformer.messages import InputError

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted
    from bgformer.pipeline.places import Places
    from bgformer.pipeline.settings import Settings
    from bgformer.store.checkpoint import Checkpoint

_OUTPUTS = ("output", "csv")
_PATHS = ("input", *_OUTPUTS, "save_model")


def cluster(default_of: Callable[[str], Any], options: argparse.Namespace) -> None:
    """Fit a model to the cells of a file and write them with the results.

    Parameters
    ----------
    default_of
        Returns the default of an option by its name.
    options
        The options.
    """
    is_new = options.resume is None
    options = _checked(options) if is_new else _interrupted(options, default_of)
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.pipeline.fitting import help_to_fit, say_found
    from bgformer.runtime import ranks
    from bgformer.store.file_states import state_of_files

    settings = _settings(options)
    checkpoint = None if options.save_model is None else _checkpoint(options.save_model)
    with ranks.started():
        if ranks.index() > 0:  # the first rank writes
            with source.opened(options.input) as cells:
                check_names(cells, options)
                help_to_fit(settings, cells, **_where(options))
            return
        # taken before the input is opened; nothing needs it without progress to keep
        state = "" if checkpoint is None else state_of_files(options.input)
        with nullcontext() if checkpoint is None else checkpoint.held():
            with results_written(options) as (cells, places, write), _resumable(checkpoint):
                if is_new:
                    fitted = _new(settings, options, cells, state, places, checkpoint)
                else:
                    fitted = _continued(options, cells, places, checkpoint)
                say_found(fitted.partition, verbose=not options.quiet)
                write(fitted, _where(options))
                if checkpoint is not None:
                    checkpoint.end(BGFormer.of(fitted).save)
            if checkpoint is not None:
                checkpoint.remove()


def _new(
    settings: Settings,
    options: argparse.Namespace,
    cells: AnnData | StoredCells,
    state: str,
    places: Places,
    checkpoint: Checkpoint | None,
) -> Fitted:
    """Train a model, and place the cells; keep both in the checkpoint if there is one."""
    from bgformer.pipeline.fitting import place_cells
    from bgformer.pipeline.training import train_model

    trained, sample = train_model(settings, cells, **_where(options), verbose=not options.quiet)
    if checkpoint is not None:
        paths = {name: vars(options)[name] for name in _PATHS}
        described = vars(options) | {
            name: None if path is None else str(path.absolute()) for name, path in paths.items()
        }
        del described["run"], described["resume"]
        run = {"options": described, "input": state}
        checkpoint.start(trained, run)
    return place_cells(trained, sample, places, cells.obs_names, checkpoint)


def _continued(
    options: argparse.Namespace,
    cells: AnnData | StoredCells,
    places: Places,
    checkpoint: Checkpoint | None,
) -> Fitted:
    """Place the cells that the checkpoint does not have yet."""
    from bgformer.pipeline.fitting import place_cells

    assert checkpoint is not None  # its options are from there
    trained = checkpoint.trained(options.device)
    counts = trained.counts_of(cells, **_where(options))
    return place_cells(
        trained, counts, places, cells.obs_names, checkpoint, verbose=not options.quiet
    )


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options of a new run; raise before any work if they cannot be used."""
    if options.input is None or (options.output is None and options.csv is None):
        raise InputError(
            "missing-argument",
            "the input or the output is missing; give both: bgformer cluster IN -o OUT.h5ad, or "
            "--csv OUT.csv for the clusters alone.",
        )
    check_outputs(options)
    if options.save_model is not None:
        from bgformer.store import persistence

        _checkpoint(options.save_model).tidy()
        if persistence.is_unfinished(options.save_model) and not options.force:
            raise FileExistsError(
                f"'{options.save_model}' holds an unfinished run; continue it with: "
                f"{persistence.how_to_resume(options.save_model)}, or start again with --force."
            )
        check_model_target(options.save_model, options)
    return options


def _interrupted(
    options: argparse.Namespace, default_of: Callable[[str], Any]
) -> argparse.Namespace:
    """Return the options of an interrupted run; raise if it cannot go on."""
    from bgformer.store.file_states import state_of_files

    given_now = {name for name, value in vars(options).items() if value != default_of(name)}
    if given_now - {"run", "resume", "force", "quiet"}:
        raise InputError(
            "resume-with-others",
            "--resume takes no option but --force and --quiet: input, output and all else are "
            "those of the interrupted run.",
        )
    checkpoint = _checkpoint(options.resume)
    if not checkpoint.exists:
        checkpoint.tidy()
        raise FileNotFoundError(
            f"there is no unfinished run in '{options.resume}'; its model was not trained yet, "
            f"or it was finished."
        )
    run = checkpoint.run()
    try:
        given = argparse.Namespace(**run["options"])
        for name in _PATHS:
            path = getattr(given, name)
            setattr(given, name, None if path is None and name in _OUTPUTS else Path(path))
        state = run["input"]
    except (LookupError, TypeError, AttributeError) as error:
        raise checkpoint.damaged() from error
    given.force |= options.force
    given.quiet |= options.quiet
    given.save_model = options.resume  # which may have been moved
    if not given.input.exists():
        raise FileNotFoundError(f"there is no file '{given.input}', the input of this run.")
    if state_of_files(given.input) != state:
        raise InputError(
            "changed-input",
            "'{input}' has changed since the run in '{folder}' began; start the run again.",
            input=given.input,
            folder=options.resume,
        )
    check_outputs(given, force=given.force or checkpoint.has_ended)
    return given


def _checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a model's folder, whether or not there is one yet."""
    from bgformer.store.checkpoint import Checkpoint
    from bgformer.store.persistence import UNFINISHED

    return Checkpoint(folder / UNFINISHED, shown=folder)


@contextmanager
def _resumable(checkpoint: Checkpoint | None) -> Iterator[None]:
    """Say how to continue if the run ends before its results are written."""
    from bgformer.store.persistence import how_to_resume

    try:
        yield
    except InputError:  # would be raised again
        raise
    except BaseException:
        if checkpoint is not None and checkpoint.exists:
            how = how_to_resume(checkpoint.folder.parent)
            print(f"bgformer: the trained model is kept; to continue, run: {how}", file=sys.stderr)
        raise


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings among the options."""
    from bgformer.pipeline.settings import Settings

    names = Settings.__dataclass_fields__
    return Settings(**{name: value for name, value in vars(options).items() if name in names})


def _where(options: argparse.Namespace) -> dict[str, str | None]:
    """Return where the counts and batches are."""
    return {"layer": options.layer, "batch_key": options.batch_key}
