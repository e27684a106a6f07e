"""What the command and its parts can be given."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from bgformer._version import __version__
from bgformer.cli import cluster as clustering
from bgformer.cli import info
from bgformer.cli import markers as marking
from bgformer.cli import predict as predicting
from bgformer.cli import recluster as reclustering
from bgformer.cli import report as reporting
from bgformer.graph.defaults import DEFAULT_RESOLUTION
from bgformer.pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_INPUT = (
    "an .h5ad file, a .zarr store, a 10x .h5 file, or a folder with matrix.mtx, barcodes.tsv and "
    "features.tsv"
)


_Parts: TypeAlias = "argparse._SubParsersAction[_Parser]"
"""To which the parsers of the parts are added."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others of the command."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"bgformer: error: {message}; see {self.prog} --help.\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command and its parts."""
    whole = _Parser(
        prog="bgformer",
        description="Cluster single-cell RNA-seq data from raw counts.",
        epilog="Example: bgformer cluster cells.h5ad -o clustered.h5ad",
    )
    whole.add_argument("--version", action="version", version=f"bgformer {__version__}")
    parts = whole.add_subparsers(
        required=True, metavar="cluster | predict | recluster | markers | report | info"
    )
    _add_cluster(parts)
    _add_predict(parts)
    _add_recluster(parts)
    _add_markers(parts)
    _add_report(parts)
    _add_info(parts)
    return whole


def _add_cluster(parts: _Parts) -> None:
    """Add ``bgformer cluster``."""
    cluster = parts.add_parser(
        "cluster", help="cluster cells", description="Cluster the cells of a file."
    )
    cluster.set_defaults(run=partial(clustering.cluster, cluster.get_default))
    # what is required without --resume is checked by the command
    cluster.add_argument("input", metavar="IN", type=Path, nargs="?", help=_INPUT)
    _add_output(cluster)
    _add_counts(cluster)
    _add_clusters(cluster)
    _add_setting(cluster, "seed", "seed of all that is drawn", int)
    _add_setting(cluster, "n_top_genes", "highly variable genes to use", int)
    _add_setting(cluster, "n_anchors", "number of anchors", _whole_or_auto)
    _add_setting(cluster, "min_cells", "fewest cells of a cluster", int)
    _add_setting(cluster, "max_steps", "training steps", int)
    cluster.add_argument(
        "--batch-key", metavar="COLUMN", help="column of obs with each cell's batch"
    )
    cluster.add_argument(
        "--save-model",
        type=Path,
        metavar="DIR",
        help="save the fitted model into this folder, and the run's progress until then",
    )
    cluster.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="continue an interrupted run whose --save-model was DIR; takes no option but --force "
        "and --quiet",
    )


def _add_predict(parts: _Parts) -> None:
    """Add ``bgformer predict``."""
    predict = parts.add_parser(
        "predict",
        help="label new cells with a saved model or with clustered cells",
        description="Give new cells the clusters of a saved model, or of cells that were "
        "clustered, by gene names.",
    )
    predict.set_defaults(run=predicting.predict)
    predict.add_argument(
        "reference",
        metavar="REFERENCE",
        type=Path,
        help="an .h5ad file or a .zarr store with results of bgformer, or the folder that "
        "`bgformer cluster --save-model` made",
    )
    predict.add_argument("input", metavar="IN", type=Path, help=_INPUT)
    predict.add_argument(
        "--labels",
        metavar="COLUMN",
        action="append",
        help="column of obs of the reference, such as its cell types: new cells also get these "
        "labels; may be given several times",
    )
    _add_output(predict)
    _add_counts(predict)


def _add_recluster(parts: _Parts) -> None:
    """Add ``bgformer recluster``."""
    recluster = parts.add_parser(
        "recluster",
        help="cluster again at another resolution, without retraining",
        description="Cluster the cells of a file at another resolution, or into a given number of "
        "clusters, from the results that are stored in it.",
    )
    recluster.set_defaults(run=reclustering.recluster)
    recluster.add_argument(
        "input",
        metavar="IN",
        type=Path,
        help="an .h5ad file or a .zarr store with results of bgformer",
    )
    _add_output(recluster)
    _add_clusters(recluster)
    recluster.add_argument(
        "--cluster-name",
        metavar="NAME",
        help="column of obs to add the clusters as; without it, the stored clusters are replaced",
    )


def _add_markers(parts: _Parts) -> None:
    """Add ``bgformer markers``."""
    markers = parts.add_parser(
        "markers",
        help="write the marker genes of each cluster as a table",
        description="Compare each gene between the cells of a cluster and all other cells, and "
        "write a table, the best markers of a cluster first. The p-values are from held-out "
        "counts if the file has results of bgformer; otherwise they are for ranking only.",
    )
    markers.set_defaults(run=marking.markers)
    markers.add_argument(
        "input",
        metavar="IN",
        type=Path,
        help="an .h5ad file or a .zarr store with raw counts and clusters",
    )
    markers.add_argument(
        "--csv", metavar="OUT.csv", type=Path, required=True, help="table to write"
    )
    markers.add_argument(
        "--cluster-name",
        metavar="NAME",
        default="bgformer",
        help="column of obs with the clusters (default: %(default)s)",
    )
    markers.add_argument(
        "--n-genes",
        metavar="N",
        type=int,
        help="number of genes of each cluster to write (default: all)",
    )
    markers.add_argument(
        "--layer",
        metavar="NAME",
        help="layer that holds the counts (default: the one that the clustering used, or X)",
    )
    markers.add_argument("--force", action="store_true", help="overwrite the table")


def _add_report(parts: _Parts) -> None:
    """Add ``bgformer report``."""
    report = parts.add_parser(
        "report",
        help="write a page that shows the clusters in a browser",
        description="Write one HTML file that shows cells, clusters at 30 resolutions, their "
        "marker genes and their confidence. It needs no network.",
    )
    report.set_defaults(run=reporting.report)
    report.add_argument(
        "input",
        metavar="IN",
        type=Path,
        help="an .h5ad file or a .zarr store with raw counts and results of bgformer",
    )
    report.add_argument(
        "-o",
        "--output",
        metavar="OUT.html",
        type=Path,
        required=True,
        help="report to write; an earlier report is replaced, any other file is not",
    )
    report.add_argument(
        "--key-added",
        metavar="NAME",
        default="bgformer",
        help="name of the results (default: %(default)s)",
    )
    report.add_argument(
        "--layer",
        metavar="NAME",
        help="layer that holds the counts (default: the one that the clustering used, or X)",
    )


def _add_info(parts: _Parts) -> None:
    """Add ``bgformer info``."""
    of = parts.add_parser(
        "info",
        help="versions and device, or what a file or a model holds",
        description="Without a path: versions and device. With one: what the file or model holds.",
    )
    of.set_defaults(run=info.info)
    of.add_argument("path", metavar="FILE or MODEL", type=Path, nargs="?")


def _add_clusters(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide how many clusters there are."""
    _add_setting(parser, "n_clusters", "number of clusters", _whole_or_auto)
    parser.add_argument(
        "--resolution",
        type=float,
        metavar="X",
        default=argparse.SUPPRESS,
        help="higher gives more clusters, when their number is not given (default: "
        f"{DEFAULT_RESOLUTION}, without splits that lack evidence)",
    )


def _add_setting(
    parser: argparse.ArgumentParser, name: str, what: str, kind: Callable[[str], int | str]
) -> None:
    """Add an option for a setting of the fit; unless it is given, the settings' default holds."""
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        type=kind,
        metavar="N",
        default=argparse.SUPPRESS,
        help=f"{what} (default: {getattr(Settings, name)})",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command that writes has."""
    # at least one of the two is required, which the command checks
    parser.add_argument("-o", "--output", metavar="OUT.h5ad", type=Path, help="file to write")
    parser.add_argument(
        "--csv",
        metavar="OUT.csv",
        type=Path,
        help="table to write, with or without -o: name, cluster and confidence of each cell",
    )
    parser.add_argument(
        "--key-added",
        metavar="NAME",
        default="bgformer",
        help="name of the results (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument(
        "--force", action="store_true", help="overwrite what is there, even the input"
    )


def _add_counts(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command that reads counts has."""
    parser.add_argument("--layer", metavar="NAME", help="layer that holds the counts, if not X")
    parser.add_argument(
        "--device", default=Settings.device, help="auto, cpu, cuda or mps (default: %(default)s)"
    )


def _whole_or_auto(text: str) -> int | str:
    """Return "auto" or a whole number from the command line."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor auto") from None
