"""The `bgformer` command: cluster, predict, info."""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bgformer._version import __version__

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from anndata import AnnData

    from bgformer.data.source import StoredCells

_INPUT = (
    "an .h5ad file, a .zarr store, a 10x .h5 file, or a folder with matrix.mtx, barcodes.tsv and "
    "features.tsv"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        What follows the command's name; None for those of this process.

    Returns
    -------
    The exit status: 0; 2 for input that cannot be used, after one line on standard error; 128 and
    the signal's number if interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        with _signals_raised(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            options.run(options)
    except (ValueError, OSError, FloatingPointError) as error:
        reason = str(error).strip() or type(error).__name__
        print(f"bgformer: error: {_with_options(reason, options)}", file=sys.stderr)
        return 2
    except _InterruptedError as error:
        print("bgformer: interrupted", file=sys.stderr)
        return 128 + error.number
    return 0


def _with_options(reason: str, options: argparse.Namespace) -> str:
    """Return a reason in one line, naming options as they are written in the shell."""
    for name in vars(options):
        if "_" in name:
            reason = re.sub(rf"\b{name}\b", f"--{name.replace('_', '-')}", reason)
    return " ".join(reason.split())


class _InterruptedError(BaseException):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise SIGINT and SIGTERM as exceptions, so that nothing half-written is left behind.

    Python swallows an exception that happens to be raised inside a destructor, of which torch has
    many; so an alarm raises it again, until it has come through.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        raise _InterruptedError(received[0])

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _show_warning(message: Warning | str, *_: object) -> None:
    """Print a warning as one line, without the source line it came from."""
    print(f"bgformer: warning: {' '.join(str(message).split())}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others of the command."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"bgformer: error: {message}; see {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command and its parts."""
    parser = _Parser(
        prog="bgformer",
        description="Cluster single-cell RNA-seq data from raw counts.",
        epilog="Example: bgformer cluster cells.h5ad -o clustered.h5ad",
    )
    parser.add_argument("--version", action="version", version=f"bgformer {__version__}")
    commands = parser.add_subparsers(required=True, metavar="cluster | predict | info")

    cluster = commands.add_parser(
        "cluster", help="cluster cells", description="Cluster the cells of a file."
    )
    cluster.set_defaults(run=_cluster)
    cluster.add_argument("input", metavar="IN", type=Path, help=_INPUT)
    _add_output(cluster)
    # Only what was given is passed on, so that the defaults stand in one place, tl.cluster.
    given = {"default": argparse.SUPPRESS}
    cluster.add_argument(
        "--n-clusters", type=_whole_or_auto, metavar="N", help="number of clusters", **given
    )
    cluster.add_argument(
        "--resolution",
        type=float,
        metavar="X",
        help="higher gives more clusters, when their number is not given",
        **given,
    )
    cluster.add_argument(
        "--batch-key", metavar="COLUMN", help="column of obs with each cell's batch", **given
    )
    cluster.add_argument(
        "--seed", type=int, metavar="N", help="seed of all that is drawn", **given
    )
    cluster.add_argument(
        "--n-top-genes", type=int, metavar="N", help="highly variable genes to use", **given
    )
    cluster.add_argument(
        "--n-anchors", type=_whole_or_auto, metavar="N", help="number of anchors", **given
    )
    cluster.add_argument(
        "--min-cells", type=int, metavar="N", help="fewest cells of a cluster", **given
    )
    cluster.add_argument("--max-steps", type=int, metavar="N", help="training steps", **given)
    cluster.add_argument(
        "--save-model", type=Path, metavar="DIR", help="save the fitted model into this folder"
    )

    predict = commands.add_parser(
        "predict",
        help="label new cells with a saved model",
        description="Give new cells the clusters of a saved model, by gene names.",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="folder that `bgformer cluster --save-model` made",
    )
    predict.add_argument("input", metavar="IN", type=Path, help=_INPUT)
    _add_output(predict)

    info = commands.add_parser(
        "info",
        help="versions and device, or what a file or a model holds",
        description="Without a path: versions and device. With one: what the file or model holds.",
    )
    info.set_defaults(run=_info)
    info.add_argument("path", metavar="FILE or MODEL", type=Path, nargs="?")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command that writes has."""
    parser.add_argument(
        "-o", "--output", metavar="OUT.h5ad", type=Path, required=True, help="file to write"
    )
    parser.add_argument("--layer", metavar="NAME", help="layer that holds the counts, if not X")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def _whole_or_auto(text: str) -> int | str:
    """Return "auto" or a whole number from the command line."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor auto") from None


def _cluster(options: argparse.Namespace) -> None:
    """Fit a model to the cells of a file and write them with the results."""
    _check_target(options.output, options.input, force=options.force)
    if options.save_model is not None:
        _check_model_target(options.save_model, force=options.force)
    from bgformer import tl
    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.runtime import ranks
    from bgformer.store import files
    from bgformer.store.places import InMemoryPlaces

    names = (
        "n_clusters",
        "resolution",
        "seed",
        "n_top_genes",
        "n_anchors",
        "min_cells",
        "max_steps",
    )
    settings = {name: value for name, value in vars(options).items() if name in names}
    what = {"layer": options.layer, "batch_key": getattr(options, "batch_key", None)}
    with (
        ranks.started(),
        files.written_beside(options.output, write=ranks.index() == 0) as partial,
        source.opened(options.input) as cells,
    ):
        quiet = options.quiet or ranks.index() > 0
        model = BGFormer(**settings, device=options.device, verbose=not quiet)
        if ranks.index() > 0:
            model.fit_cells(cells, InMemoryPlaces(), **what)  # the first rank writes
            return
        if isinstance(cells, source.StoredCells):
            with files.StoredResults(options.input, partial) as results:
                model.fit_cells(cells, results, **what)
                found = model.partition_
                n_clusters = found.n_clusters
                stored = tl.described(model, **what)
                results.label(found.labels, found.confidence, n_clusters, stored)
                if options.save_model is not None:
                    model.latent_ = model.latent_[:]
                    model.weights_ = model.weights_.to_memory()
        else:
            model.fit(cells, **what)
            tl.store(cells, model, **what)
            cells.write_h5ad(partial)
        if options.save_model is not None:
            model.save(options.save_model, overwrite=options.force)


def _predict(options: argparse.Namespace) -> None:
    """Label the cells of a file with a saved model and write them."""
    _check_target(options.output, options.input, force=options.force)
    import numpy as np
    import pandas as pd

    from bgformer.data import source
    from bgformer.model import BGFormer
    from bgformer.store import files

    model = BGFormer.load(options.model, device=options.device)
    n_clusters = model.partition_.n_clusters
    with files.written_beside(options.output) as partial, source.opened(options.input) as cells:
        if isinstance(cells, source.StoredCells):
            with files.StoredResults(options.input, partial) as results:
                results.start(cells.n_obs, model.n_latent)
                parts = []
                for latent in model.embed_cells(cells, layer=options.layer):
                    results.add(latent)
                    parts.append(model.assign(latent))
                labels, confidence = (np.concatenate(part) for part in zip(*parts, strict=True))
                results.label(labels, confidence, n_clusters)
        else:
            latent = model.embed(cells, layer=options.layer)
            labels, confidence = model.assign(latent)
            names = [str(i) for i in range(n_clusters)]
            cells.obs["bgformer"] = pd.Categorical.from_codes(labels, categories=names)
            cells.obs["bgformer_confidence"] = confidence
            cells.obsm["X_bgformer"] = latent
            cells.write_h5ad(partial)
        n_cells = cells.n_obs
    if not options.quiet:
        print(
            f"bgformer: {n_cells} cells in {len(set(labels))} of {n_clusters} clusters",
            file=sys.stderr,
        )


def _check_target(output: Path, cells: Path, *, force: bool) -> None:
    """Raise before any work unless the output can be written."""
    suffix = ".zarr" if cells.suffix == ".zarr" else ".h5ad"
    if output.suffix != suffix:
        raise ValueError(
            f"the output '{output}' must be named {suffix}, the format that is written."
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


def _info(options: argparse.Namespace) -> None:
    """Print what is installed, or what a file or a model holds."""
    from bgformer.data import source
    from bgformer.store import persistence

    if options.path is None:
        _print_versions()
    elif persistence.holds_model(options.path):
        tensors, description = persistence.read(options.path)
        with persistence.damage_reported(options.path):
            lines = [
                f"a model of bgformer {description['version']}",
                f"fitted to {len(tensors['latent'])} cells x {len(description['genes'])} genes",
                *_batches(description["batches"]),
                f"clusters: {int(tensors['anchor_clusters'].max()) + 1}, "
                f"from {len(tensors['anchors'])} anchors",
                *(
                    f"{name}: {_listed(value)}"
                    for name, value in description["settings"].items()
                    if value is not None
                ),
            ]
        print("\n".join(lines))
    else:
        with source.opened(options.path) as cells:
            _print_cells(cells)


def _batches(names: list[str]) -> list[str]:
    """Return a line on the batches, if there were any."""
    return [f"batches: {', '.join(names)}"] if len(names) > 1 else []


def _listed(value: object) -> str:
    """Return a setting as text; the objective is several numbers."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part:g}" for name, part in value.items())
    return str(value)


def _print_versions() -> None:
    """Print the versions of what results depend on, and the device that "auto" means."""
    from importlib.metadata import version

    from bgformer.runtime.devices import pick_device

    print(f"bgformer {__version__}")
    print(f"python {sys.version.split()[0]}")
    for name in ("torch", "numpy", "scipy", "anndata", "scanpy", "igraph", "safetensors"):
        print(f"{name} {version(name)}")
    print(f"device {pick_device('auto').type}")


def _print_cells(adata: AnnData | StoredCells) -> None:
    """Print the size of a data set and the clusterings it holds."""
    print(f"{adata.n_obs} cells x {adata.n_vars} genes")
    print(f"layers: {', '.join(adata.layers) or 'none'}")
    print(f"columns of obs: {', '.join(adata.obs.columns) or 'none'}")
    for key, stored in adata.uns.items():
        if hasattr(stored, "keys") and "anchor_clusters" in stored and key in adata.obs:
            sizes = adata.obs[key].value_counts(sort=False)
            resolution = float(stored["resolution"])
            how = "number set" if math.isnan(resolution) else f"resolution {resolution:.3g}"
            print(
                f"results '{key}' of bgformer {stored['version']}: {stored['n_clusters']} "
                f"clusters of {', '.join(str(size) for size in sizes)} cells ({how}, seed "
                f"{stored['seed']})"
            )
