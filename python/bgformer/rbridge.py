"""The door for R: counts in through anndata2ri or a folder on disk, plain arrays out.

The R package calls this inside its own process, where reticulate runs Python and rpy2 attaches to
the R that is running; `rprocess` calls it in a process without R. What goes back is numbers,
strings, lists and dictionaries of these only, because older versions of reticulate cannot convert
anything else. An error goes back as a sentence under ``"error"``, so that R shows it without
Python's traceback, and an interrupt as ``"interrupted"``.
"""

from __future__ import annotations

import _thread
import ctypes
import functools
import inspect
import logging
import signal
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer import anchors, tl
from bgformer.model import BGFormer
from bgformer.places import InMemoryPlaces
from bgformer.populations import one_population
from bgformer.rstore import CellsFromR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from anndata import AnnData

_NOT_FOR_R = {"adata", "batch_key", "layer", "key_added", "copy"}
_ATTACHED = "R was initialized outside of rpy2"
_EXPECTED_ERRORS = (ValueError, TypeError, FileNotFoundError)


def _answer(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return errors, warnings and interrupts to R instead of raising them."""

    @functools.wraps(function)
    def answered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        with _interrupts_for_python(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            try:
                answer = function(*args, **kwargs)
            except KeyboardInterrupt:
                answer = {"interrupted": True}
            except _EXPECTED_ERRORS as error:
                answer = {"error": str(error)}
            except Exception as error:  # R shows one sentence whatever went wrong
                answer = {"error": f"Python stopped with {type(error).__name__}: {error}"}
        plain = {"error": None, "interrupted": False}
        return {**plain, **answer, "warnings": [str(one.message) for one in caught]}

    return answered


@_answer
def run(name: str, batch_key: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Cluster the cells of a SingleCellExperiment that the R package holds.

    Parameters
    ----------
    name
        Name of the SingleCellExperiment in the environment ``bridge`` of R's namespace bgformer.
    batch_key
        Column of its ``colData`` with the batch of each cell, or None.
    arguments
        Further arguments of :func:`bgformer.tl.cluster`.

    Returns
    -------
    ``labels`` (n,), codes into ``levels`` (strings), ``confidence`` (n,), ``embedding``
    (n x n_latent), ``weights`` (CSC parts of the n x m matrix), ``anchors`` (m x n_latent),
    ``anchor_clusters`` (m,), ``genes``, ``history``, ``params``, ``version``, ``seed``,
    ``resolution``, ``valley_p`` (or None); and ``error`` (a sentence, or None), ``warnings``
    (sentences) and ``interrupted``.
    """
    _check_arguments(arguments)
    return _fitted(_from_r(name), batch_key, arguments)


@_answer
def run_stored(folder: str) -> dict[str, Any]:
    """Cluster the cells that R wrote into a folder, without reading all of their counts at once.

    Parameters
    ----------
    folder
        With counts and a request, see `rstore`.

    Returns
    -------
    As :func:`run`.
    """
    cells = CellsFromR(Path(folder))
    _check_arguments(cells.arguments)
    return _fitted(cells, cells.batch_key, cells.arguments)


def _fitted(
    cells: AnnData | CellsFromR, batch_key: str | None, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Fit a model to cells and return what R is told of it."""
    model = BGFormer(**arguments)
    model.fit_cells(cells, InMemoryPlaces(), batch_key=batch_key)
    stored = tl.described(model, batch_key=batch_key)
    weights = sparse.csc_matrix(model.weights_)
    weights.sort_indices()
    return {
        "labels": model.partition_.labels.astype(np.int32),
        "levels": [str(level) for level in range(stored["n_clusters"])],
        "confidence": model.partition_.confidence.astype(np.float64),
        "embedding": np.asarray(model.latent_, dtype=np.float64),
        "weights": {
            "data": weights.data.astype(np.float64),
            "indices": weights.indices.astype(np.int32),
            "indptr": weights.indptr.astype(np.int32),
            "shape": list(weights.shape),
        },
        "anchors": np.asarray(stored["anchors"], dtype=np.float64),
        "anchor_clusters": stored["anchor_clusters"].astype(np.int32),
        "genes": [str(gene) for gene in stored["genes"]],
        "history": {
            term: np.asarray(values, dtype=np.float64)
            for term, values in stored["history"].items()
        },
        "params": {name: _plain(value) for name, value in stored["params"].items()},
        "version": str(stored["version"]),
        "seed": int(stored["seed"]),
        "resolution": float(stored["resolution"]),
        "valley_p": _plain(stored.get("valley_p")),
    }


@_answer
def recluster(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    shape: list[int],
    resolution: float | None,
    n_clusters: int | None,
    seed: int,
    valley_p: float | None,
) -> dict[str, Any]:
    """Cluster stored anchors again; nothing is trained.

    Parameters
    ----------
    data, indices, indptr, shape
        Weights of cells on anchors, n x m, as R's dgCMatrix holds them (CSC).
    resolution, n_clusters, seed
        As in :func:`bgformer.anchors.partition`.
    valley_p
        What :func:`run` returned under this name.

    Returns
    -------
    ``labels`` (n,), codes into ``levels`` (strings), ``confidence`` (n,), ``anchor_clusters``
    (m,), ``resolution``; and ``error``, ``warnings`` and ``interrupted`` as from :func:`run`.
    """
    weights = sparse.csc_matrix((data, indices, indptr), shape=shape).tocsr()
    found = anchors.partition(
        weights, resolution, n_clusters, seed, one_population=one_population(valley_p)
    )
    return {
        "labels": found.labels.astype(np.int32),
        "levels": [str(level) for level in range(int(found.labels.max()) + 1)],
        "confidence": np.asarray(found.confidence, dtype=np.float64),
        "anchor_clusters": found.anchor_clusters.astype(np.int32),
        "resolution": float(found.resolution),
    }


def _check_arguments(arguments: dict[str, Any]) -> None:
    """Raise ValueError for an argument that :func:`bgformer.tl.cluster` does not have."""
    known = set(inspect.signature(tl.cluster).parameters) - _NOT_FOR_R
    unknown = sorted(set(arguments) - known)
    if unknown:
        further = sorted(known - {"n_clusters", "resolution", "seed", "device", "verbose"})
        raise ValueError(
            f"RunBGFormer() has no argument '{unknown[0]}'; further arguments are "
            f"{', '.join(further)}."
        )


def _plain(value: Any) -> Any:
    """Return a parameter as a type that every version of reticulate converts."""
    return value.item() if isinstance(value, np.generic) else value


def _from_r(name: str) -> AnnData:
    """Convert the SingleCellExperiment that R holds under `name`; cells become rows.

    The counts may be R's own memory, so they are marked read-only.
    """
    with _r_attached():
        import anndata2ri
        from rpy2 import rinterface
        from rpy2.robjects import default_converter
        from rpy2.robjects.conversion import get_conversion, localconverter

        namespace = rinterface.baseenv["asNamespace"](rinterface.StrSexpVector(["bgformer"]))
        with localconverter(default_converter + anndata2ri.converter):
            adata = get_conversion().rpy2py(namespace["bridge"][name])
    adata.X.data.flags.writeable = False
    return adata


@contextmanager
def _r_attached() -> Iterator[None]:
    """Let rpy2 attach to the running R without its warning about that, and without Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    logger = logging.getLogger("rpy2.rinterface_lib.embedded")
    logger.addFilter(_not_attached)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_ATTACHED)
            # the same call in rpy2 uses a method of logging that has been renamed
            warnings.filterwarnings("ignore", message="The 'warn' method is deprecated")
            yield
    finally:
        logger.removeFilter(_not_attached)
        signal.signal(signal.SIGINT, handler)


def _not_attached(record: logging.LogRecord) -> bool:
    """Drop the log record that says the same as the warning."""
    return not record.getMessage().startswith(_ATTACHED)


@contextmanager
def _interrupts_for_python() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here, and put reticulate's way back afterwards.

    The handler of reticulate 1.28 calls R in the middle of Python's work, and R may then jump over
    Python's frames, which ends the process some time later. With any other handler R itself could
    not be interrupted any more, so that both of reticulate's are put back: Python's, and the one
    in C, which Python cannot see.
    """
    in_python = signal.getsignal(signal.SIGINT)
    in_c = _getsig(signal.SIGINT)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        if in_python is not None:
            signal.signal(signal.SIGINT, in_python)
        _setsig(signal.SIGINT, in_c)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but never within an import: half a module fails at the next run."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.05, _thread.interrupt_main).start()  # ask again
            return
        frame = frame.f_back
    raise KeyboardInterrupt


_getsig = ctypes.pythonapi.PyOS_getsig
_getsig.argtypes, _getsig.restype = [ctypes.c_int], ctypes.c_void_p
_setsig = ctypes.pythonapi.PyOS_setsig
_setsig.argtypes, _setsig.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
