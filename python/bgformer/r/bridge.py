"""What R calls: counts in through anndata2ri or a folder on disk, plain arrays out.

The R package calls this inside its own process, where reticulate runs Python and rpy2 attaches to
the R that is running; `process` calls it in a process without R. Errors and warnings are part of
the answer (see `answers`), which is made of what R can hold (see `plain`).
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bgformer.arguments import whole
from bgformer.graph import communities
from bgformer.graph.evidence import evidence
from bgformer.graph.labels import label_shares, vote_for_labels
from bgformer.messages import InputError
from bgformer.model import BGFormer
from bgformer.page.report import checked, written
from bgformer.pipeline.fitting import fit_model
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.pipeline.settings import Settings
from bgformer.r.answers import answering
from bgformer.r.figures import link_shares as link_shares
from bgformer.r.figures import resolutions as resolutions
from bgformer.r.figures import umap as umap
from bgformer.r.memory import cells_in_r
from bgformer.r.plain import clusters, held_in, looks_of, model_of, results, weights_of
from bgformer.r.report import KEY, as_anndata
from bgformer.r.resumable import fitted_with_checkpoint
from bgformer.r.store import CellsFromR
from bgformer.r.trees import tree as tree
from bgformer.store.looks import warn_of_lost_names
from bgformer.store.models import write_model
from bgformer.tl.marker_genes import table_of, tests_in
from bgformer.tl.profiling import HELD_OUT_P, profiles_of

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.cells import Cells

CLUSTERS = "clusters"
"""What R calls the batches if they are clusters."""
_NOT_FOR_R = {"objective"}


@answering
def run(batch_key: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Cluster the cells that the R package holds in its environment ``bridge``.

    Parameters
    ----------
    batch_key
        What the batches are called, or None if there are none.
    arguments
        Arguments of :class:`bgformer.BGFormer`.

    Returns
    -------
    What `plain.results` returns.
    """
    _check_arguments(arguments)
    return _fitted(cells_in_r(batch_key), batch_key, arguments)


@answering
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
    if cells.checkpoint is None:
        return _fitted(cells, cells.batch_key, cells.arguments)
    given = dict(cells.arguments)
    verbose = given.pop("verbose", True)
    fitted = fitted_with_checkpoint(Settings(**given), cells, verbose=verbose)
    return results(fitted, batch_key=cells.batch_key)


def _fitted(cells: Cells, batch_key: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Fit a model to cells and return what R is told of it."""
    given = dict(arguments)
    verbose = given.pop("verbose", True)
    places = InMemoryPlaces()
    fitted = fit_model(Settings(**given), cells, places, batch_key=batch_key, verbose=verbose)
    return results(fitted, batch_key=batch_key)


@answering
def predict(fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Put the cells that R holds, as for :func:`run`, among the anchors of a fitted model.

    Parameters
    ----------
    fitted
        The model as R holds it: ``model`` (bytes), ``anchor_clusters`` (m,), ``anchor_support``
        (m,), ``nearest``, ``links``, ``n_considered`` and ``resolution``, as :func:`run` or
        :func:`recluster` returned them, the clusters as numbers.
    device
        "auto" or a torch device.

    Returns
    -------
    What `plain.results` returns, of these cells.
    """
    return _placed(cells_in_r(), fitted, device)


@answering
def predict_stored(folder: str, fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Do what :func:`predict` does, for cells that R wrote into a folder; see `store`."""
    return _placed(CellsFromR(Path(folder)), fitted, device)


def _placed(cells: Cells, fitted: dict[str, Any], device: str) -> dict[str, Any]:
    """Put cells among a model's anchors and return what R is told of them."""
    return results(model_of(fitted, device).placed(cells))


@answering
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
        As in :func:`predict`, with ``names`` and ``colours`` of the clusters.
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
    model = model_of(fitted).with_cells(rows, weights_of(weights))
    write_model(path, model, looks_of(fitted), overwrite=overwrite)
    return {}


@answering
def load(path: str) -> dict[str, Any]:
    """Return what `plain.results` returns of a saved model."""
    model = BGFormer.load(path)
    return results(model.fitted, looks=model.looks)


@answering
def labels(
    reference: dict[str, Any], codes: np.ndarray, n_labels: int, weights: dict[str, Any]
) -> dict[str, Any]:
    """Return the labels that new cells get of those that a reference's cells have.

    Parameters
    ----------
    reference, weights
        Weights of the reference's cells and of new cells on the same anchors, as in
        :func:`recluster`.
    codes, n_labels
        Label of each cell of the reference, from 0, or -1, and the number of labels.

    Returns
    -------
    ``codes`` and ``confidence`` of the new cells; see `bgformer.graph.labels`.
    """
    shares = label_shares(weights_of(reference), np.atleast_1d(codes), n_labels)
    found, confidence = vote_for_labels(weights_of(weights), shares)
    return {"codes": found, "confidence": confidence.astype(np.float64)}


@answering
def recluster(
    weights: dict[str, Any],
    resolution: float | None,
    n_clusters: int | None,
    seed: int,
    model: bytes,
    before: dict[str, Any],
) -> dict[str, Any]:
    """Cluster stored anchors again; nothing is trained.

    Parameters
    ----------
    weights
        Weights of cells on anchors, n x m, as R's dgCMatrix holds them (CSC): ``data``,
        ``indices``, ``indptr`` and ``shape``.
    resolution, n_clusters, seed
        As in :func:`bgformer.graph.communities.partition`.
    model
        What :func:`run` returned under this name.
    before
        The present clusters: ``anchor_clusters`` (m,), their ``names`` and ``colours``, which
        clusters that stay keep, and which cells are ``unassigned`` (n,), which stay so.

    Returns
    -------
    ``labels``, ``levels``, ``names``, ``colours``, ``confidence``, ``anchor_clusters``,
    ``anchor_support``, ``resolution``, ``nearest``, ``links``, ``n_considered`` and ``evidence``
    as in `plain.results`.
    """
    held = held_in(model, weights["shape"][1])
    of_cells = weights_of(weights)
    unassigned = np.atleast_1d(before["unassigned"]).astype(bool)
    found = communities.partition_of_assigned(
        of_cells, unassigned, resolution, n_clusters, seed, min_cells=held.min_cells
    )
    communities.warn_of_one(found)
    looks = looks_of(before)
    now = looks.inherited(
        np.array(before["anchor_clusters"], dtype=np.int64),
        found.anchor_clusters,
        np.asarray(of_cells.sum(axis=0)).ravel(),
    )
    warn_of_lost_names(looks, now)
    return clusters(found, evidence(found, held.out, held.genes), now)


@answering
def report(
    fitted: dict[str, Any],
    latent: np.ndarray,
    weights: dict[str, Any],
    columns: dict[str, Any],
    umap: np.ndarray | None,
    path: str,
    folder: str | None,
) -> dict[str, Any]:
    """Write a report of the cells that R holds.

    Parameters are those of `report.as_anndata`, the file, and the folder as in `profiles`.
    """
    target = checked(path)
    cells: Cells = cells_in_r() if folder is None else CellsFromR(Path(folder))
    adata = as_anndata(cells, fitted, latent, weights, columns, umap)
    written(adata, cells, KEY, target)
    return {}


@answering
def profiles(names: list[str], folder: str | None) -> dict[str, Any]:
    """Return the mean expression of the clusters that R gives the cells.

    Parameters
    ----------
    names
        All clusters, in R's order. The cells' own are where batches are, named `CLUSTERS`.
    folder
        Where R wrote the cells, see `store`; None for its environment ``bridge``.

    Returns
    -------
    ``mean``: ``X`` of :func:`bgformer.tl.profiles`, clusters x genes.
    """
    return {"mean": np.asarray(_profiles(names, folder, None).X)}


@answering
def markers(
    names: list[str], n_genes: int | None, folder: str | None, behind: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the best genes of each cluster.

    Parameters
    ----------
    names, folder
        As in :func:`profiles`.
    n_genes
        Number of genes of each cluster; None for all.
    behind
        The model that the object holds, as in :func:`predict`, with ``weights`` of the cells as in
        :func:`recluster`, and whether the clusters are ``ours``; None if it has none.

    Returns
    -------
    What `tl.markers.table_of` returns, and ``held_out``: whether the p-values are from held-out
    counts.
    """
    most = None if n_genes is None else whole("n_genes", n_genes)
    found = _profiles(names, folder, behind)
    table = table_of(found, tests_in(found), most)
    columns = {name: values.astype(np.float64) for name, values in table.items()}
    return columns | {"held_out": HELD_OUT_P in found.layers}


def _profiles(names: list[str], folder: str | None, behind: dict[str, Any] | None) -> AnnData:
    """Return the profiles of the clusters that R gives the cells."""
    cells: Cells = cells_in_r(CLUSTERS) if folder is None else CellsFromR(Path(folder))
    clusters = pd.Categorical(cells.obs[CLUSTERS], categories=list(np.atleast_1d(names)))
    held = None if behind is None else (model_of(behind), weights_of(behind["weights"]))
    ours = behind is not None and bool(behind["ours"])
    return profiles_of(cells, clusters, None, held, ours=ours)


def _check_arguments(arguments: dict[str, Any]) -> None:
    """Raise InputError for an argument that :class:`bgformer.BGFormer` does not have."""
    known = set(inspect.signature(BGFormer).parameters) - _NOT_FOR_R
    unknown = sorted(set(arguments) - known)
    if unknown:
        further = sorted(known - {"n_clusters", "resolution", "seed", "device", "verbose"})
        raise InputError(
            "unknown-argument",
            "RunBGFormer() has no argument '{unknown}'; further arguments are {further}.",
            unknown=unknown[0],
            further=", ".join(further),
        )
