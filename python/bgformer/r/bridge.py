"""The door for R: counts in through anndata2ri or a folder on disk, plain arrays out.

The R package calls this inside its own process, where reticulate runs Python and rpy2 attaches to
the R that is running; `process` calls it in a process without R. What goes back is numbers,
strings, lists and dictionaries of these only, because older versions of reticulate cannot convert
anything else. An error goes back as a sentence under ``"error"``, so that R shows it without
Python's traceback, and an interrupt as ``"interrupted"``.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from bgformer._version import __version__
from bgformer.graph import communities
from bgformer.graph.evidence import Profiles, evidence
from bgformer.graph.stability import over_resolutions
from bgformer.model import BGFormer
from bgformer.network.attention import anchor_weights
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.settings import Settings
from bgformer.r.session import interrupts_for_python, r_attached
from bgformer.r.store import CellsFromR
from bgformer.runtime.devices import one_thread, pick_device
from bgformer.store import persistence
from bgformer.store.state import from_state, to_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from bgformer.pipeline.fitted import Fitted

_NOT_FOR_R = {"objective"}
_HELD_BY_R = ("latent", "weights.data", "weights.indices", "weights.indptr")
"""Of the cells, and stored in R's own objects beside the model ..."""
_SET_BY_R = ("anchor_clusters", "anchor_support", "nearest", "links")
"""... as are these, which change when R clusters again."""
_EXPECTED_ERRORS = (ValueError, TypeError, OSError)


def _answer(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return errors, warnings and interrupts to R instead of raising them."""

    @functools.wraps(function)
    def answered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        with interrupts_for_python(), warnings.catch_warnings(record=True) as caught:
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
        Arguments of :class:`bgformer.BGFormer`.

    Returns
    -------
    What :func:`results` returns; and ``error`` (a sentence, or None), ``warnings`` (sentences) and
    ``interrupted``.
    """
    _check_arguments(arguments)
    return _fitted(_from_r(name), batch_key, arguments)


@_answer
def run_stored(folder: str) -> dict[str, Any]:
    """Cluster the cells that R wrote into a folder, without reading all of their counts at once.

    Parameters
    ----------
    folder
        With counts and a request, see `store`.

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
    given = dict(arguments)
    verbose = given.pop("verbose", True)
    places = InMemoryPlaces()
    fitted = fit_model(Settings(**given), cells, places, batch_key=batch_key, verbose=verbose)
    return results(fitted, batch_key=batch_key)


@_answer
def predict(name: str, fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Put the cells of a SingleCellExperiment among the anchors of a fitted model.

    Parameters
    ----------
    name
        As in :func:`run`.
    fitted
        The model as R holds it: ``model`` (bytes), ``anchor_clusters`` (m,), ``anchor_support``
        (m,), ``nearest``, ``links``, ``n_considered`` and ``resolution``, as :func:`run` or
        :func:`recluster` returned them, the clusters as numbers.
    device
        "auto" or a torch device.

    Returns
    -------
    What :func:`results` returns, of these cells; ``error``, ``warnings`` and ``interrupted``.
    """
    return _placed(_from_r(name), fitted, device)


@_answer
def predict_stored(folder: str, fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Do what :func:`predict` does, for cells that R wrote into a folder; see `store`."""
    return _placed(CellsFromR(Path(folder)), fitted, device)


def _placed(cells: AnnData | CellsFromR, fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Put cells among a model's anchors and return what R is told of them."""
    model = _model(fitted, device)
    latent = np.concatenate(list(model.embed(cells)))
    return results(model.with_cells(latent, anchor_weights(latent, model.anchors)))


@_answer
def save(
    fitted: dict[str, Any],
    latent: np.ndarray,
    weights: dict[str, Any],
    path: str,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the folder that :meth:`bgformer.BGFormer.load` reads.

    Parameters
    ----------
    fitted
        As in :func:`predict`.
    latent
        Of the cells, n x n_latent.
    weights
        As in :func:`recluster`.
    path
        The folder.
    overwrite
        Replace a model that is there.
    """
    rows = np.ascontiguousarray(latent, dtype=np.float32)
    model = _model(fitted).with_cells(rows, _weights(weights))
    persistence.write(path, *to_state(model), overwrite=overwrite)
    return {}


@_answer
def load(path: str) -> dict[str, Any]:
    """Return what :func:`results` returns of a saved model; ``error`` and so on."""
    return results(BGFormer.load(path).fitted)


@_answer
def recluster(
    weights: dict[str, Any],
    resolution: float | None,
    n_clusters: int | None,
    seed: int,
    model: bytes,
) -> dict[str, Any]:
    """Cluster stored anchors again; nothing is trained.

    Parameters
    ----------
    weights
        Weights of cells on anchors, n x m, as R's dgCMatrix holds them (CSC): ``data``,
        ``indices``, ``indptr`` and ``shape``.
    resolution, n_clusters, seed
        As in :func:`bgformer.communities.partition`.
    model
        What :func:`run` returned under this name.

    Returns
    -------
    ``labels``, ``levels``, ``confidence``, ``anchor_clusters``, ``anchor_support``,
    ``resolution``, ``nearest``, ``links``, ``n_considered`` and ``evidence`` as in
    :func:`results`; and ``error``, ``warnings`` and ``interrupted``.
    """
    where = "the object"
    tensors, description = persistence.unpacked(bytes(model), where)
    with persistence.damage_reported(where):
        held_out = Profiles(
            **{k: v.numpy() for k, v in persistence.section(tensors, "profiles").items()}
        )
        genes = np.array(description["genes"], dtype=str)
        min_cells = description["settings"]["min_cells"]
    found = communities.partition(
        _weights(weights), resolution, n_clusters, seed, min_cells=min_cells
    )
    return _clusters(found, evidence(found, held_out, genes))


@_answer
def weights_again(latent: np.ndarray, anchors_of_graph: np.ndarray) -> dict[str, Any]:
    """Return the weights of cells whose names have changed, from the latent that R has kept.

    Parameters
    ----------
    latent
        Of the cells, n x n_latent.
    anchors_of_graph
        m x n_latent, from :func:`run`.

    Returns
    -------
    ``weights``, as in :func:`results`; and ``error``, ``warnings`` and ``interrupted``.
    """
    rows, centres = (
        np.array(part, dtype=np.float32, order="C") for part in (latent, anchors_of_graph)
    )
    return {"weights": _by_anchor(anchor_weights(rows, centres))}


@_answer
def resolutions(weights: dict[str, Any], wanted: list[float], seed: int) -> dict[str, Any]:
    """Return how many clusters each resolution gives, and how stable they are.

    Parameters
    ----------
    weights
        As in :func:`recluster`.
    wanted, seed
        As in :func:`bgformer.stability.over_resolutions`.

    Returns
    -------
    ``resolution``, ``n_clusters`` and ``stability``, arrays; and ``error`` and so on.
    """
    with one_thread():
        table = over_resolutions(_weights(weights), np.atleast_1d(wanted), seed)
    return {name: column.to_numpy(np.float64) for name, column in table.items()}


def results(model: Fitted, *, batch_key: str | None = None) -> dict[str, Any]:
    """Return all that R keeps of a fitted model, as plain things.

    Parameters
    ----------
    model
        Fitted.
    batch_key
        As given to the fit; noted among the parameters.

    Returns
    -------
    ``labels`` (n,), codes into ``levels`` (strings), ``confidence`` (n,), ``embedding`` (n x
    n_latent), ``weights`` (CSC parts of the n x m matrix), ``anchors`` (m x n_latent),
    ``anchor_clusters`` (m,), ``anchor_support`` (m,), ``genes``, ``history``, ``params``,
    ``version``, ``seed``, ``resolution``, ``nearest`` (k,), ``links`` (k,), ``n_considered``,
    ``evidence`` (columns of a table, see :func:`bgformer.evidence.evidence`) and ``model`` (bytes:
    what :func:`predict` and :func:`save` need besides).
    """
    params = model.settings.described() | {"batch_key": batch_key}
    tensors, description = to_state(model)
    for name in (*_HELD_BY_R, *_SET_BY_R):
        del tensors[name]
    return {
        "embedding": np.asarray(model.latent, dtype=np.float64),
        "weights": _by_anchor(model.weights),
        "anchors": np.asarray(model.anchors, dtype=np.float64),
        "genes": [str(gene) for gene in model.genes],
        "history": {
            term: np.asarray(values, dtype=np.float64) for term, values in model.history.items()
        },
        "params": {name: value for name, value in params.items() if value is not None},
        "version": __version__,
        "seed": model.settings.seed,
        # reticulate makes R's bytes of a bytearray alone
        "model": bytearray(persistence.packed(tensors, description)),
        **_clusters(model.partition, model.evidence),
    }


def _clusters(found: communities.Partition, table: pd.DataFrame) -> dict[str, Any]:
    """Return a partition as plain things."""
    return {
        "labels": found.labels.astype(np.int32),
        "levels": [str(level) for level in range(found.n_clusters)],
        "confidence": np.asarray(found.confidence, dtype=np.float64),
        "anchor_clusters": found.anchor_clusters.astype(np.int32),
        "anchor_support": np.asarray(found.anchor_support, dtype=np.float64),
        "resolution": float(found.resolution),
        "nearest": np.asarray(found.nearest, dtype=np.int32),
        "links": np.asarray(found.links, dtype=np.float64),
        "n_considered": int(found.n_considered),
        "evidence": {name: _column(table[name]) for name in table},
    }


def _column(values: pd.Series) -> list[str] | np.ndarray:
    """Return a column of a table as what every version of reticulate converts."""
    if values.dtype == object or not pd.api.types.is_numeric_dtype(values):
        return [str(value) for value in values]
    return values.to_numpy(dtype=np.float64)


def _by_anchor(weights: sparse.csr_matrix) -> dict[str, Any]:
    """Return the parts of R's dgCMatrix, n x m."""
    columns = sparse.csc_matrix(weights)
    columns.sort_indices()
    return {
        "data": columns.data.astype(np.float64),
        "indices": columns.indices.astype(np.int32),
        "indptr": columns.indptr.astype(np.int32),
        "shape": list(columns.shape),
    }


def _weights(parts: dict[str, Any]) -> sparse.csr_matrix:
    """Return the weights that R holds by anchor as CSR n x m."""
    columns = sparse.csc_matrix(
        (parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"])
    )
    return columns.tocsr()


def _model(fitted: dict[str, Any], device: str = "auto") -> Fitted:
    """Make the model again that R holds, without its cells."""
    pick_device(device)  # a wrong one is not the object's fault
    where = "this object"
    tensors, description = persistence.unpacked(bytes(fitted["model"]), where)
    n_anchors, n_latent = tensors["anchors"].shape
    no_cells = sparse.csr_matrix((0, n_anchors))
    arrays = {  # copies, because R's own memory is not writable
        "latent": np.empty((0, n_latent), dtype=np.float32),
        "weights.data": no_cells.data,
        "weights.indices": no_cells.indices,
        "weights.indptr": no_cells.indptr,
        "anchor_clusters": np.array(fitted["anchor_clusters"], dtype=np.int32),
        "anchor_support": np.array(fitted["anchor_support"], dtype=np.float64),
        "nearest": np.array(np.atleast_1d(fitted["nearest"]), dtype=np.int64),
        "links": np.array(np.atleast_1d(fitted["links"]), dtype=np.float64),
    }
    resolution = fitted["resolution"]
    with persistence.damage_reported(where):
        return from_state(
            tensors | {name: torch.from_numpy(array) for name, array in arrays.items()},
            description
            | {
                "resolution": None if np.isnan(resolution) else resolution,
                "n_considered": int(fitted["n_considered"]),
            },
            device=device,
        )


def _check_arguments(arguments: dict[str, Any]) -> None:
    """Raise ValueError for an argument that :class:`bgformer.BGFormer` does not have."""
    known = set(inspect.signature(BGFormer).parameters) - _NOT_FOR_R
    unknown = sorted(set(arguments) - known)
    if unknown:
        further = sorted(known - {"n_clusters", "resolution", "seed", "device", "verbose"})
        raise ValueError(
            f"RunBGFormer() has no argument '{unknown[0]}'; further arguments are "
            f"{', '.join(further)}."
        )


def _from_r(name: str) -> AnnData:
    """Convert the SingleCellExperiment that R holds under `name`; cells become rows.

    The counts may be R's own memory, so they are marked read-only.
    """
    with r_attached():
        import anndata2ri
        from rpy2 import rinterface
        from rpy2.robjects import default_converter
        from rpy2.robjects.conversion import get_conversion, localconverter

        namespace = rinterface.baseenv["asNamespace"](rinterface.StrSexpVector(["bgformer"]))
        with localconverter(default_converter + anndata2ri.converter):
            adata = get_conversion().rpy2py(namespace["bridge"][name])
    adata.X.data.flags.writeable = False
    return adata
