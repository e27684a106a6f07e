"""The fit from counts to clusters: a trained model, and all cells placed among its anchors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bgformer.fit.dec import refine
from bgformer.fit.trainer import Schedule
from bgformer.graph.anchor_graph import anchor_links
from bgformer.graph.anchors import centres
from bgformer.graph.communities import partition, warn_of_one
from bgformer.graph.evidence import profiles
from bgformer.graph.placement import placements
from bgformer.pipeline.fitted import Fitted
from bgformer.pipeline.training import train_model
from bgformer.runtime import ranks
from bgformer.runtime.progress import Progress, say
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.data.sample import Sample, SelectedCounts
    from bgformer.graph.communities import Partition
    from bgformer.pipeline.places import Places
    from bgformer.pipeline.settings import Settings
    from bgformer.pipeline.training import Trained


def fit_model(
    settings: Settings,
    cells: Cells,
    places: Places,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    verbose: bool = True,
) -> Fitted:
    """Train on the counts of cells and cluster them.

    Parameters
    ----------
    settings
        Settings of the fit.
    cells
        Cells x genes with raw counts; not changed.
    places
        Storage for the latent and the weights of the cells.
    layer
        Layer that holds the counts; None for ``X``.
    batch_key
        Column of ``obs`` with the batch of each cell.
    verbose
        Show progress.

    Returns
    -------
    The fitted model.

    Raises
    ------
    CountsError, InputError
        If the counts or a setting cannot be used.
    FloatingPointError
        If the loss is not finite.
    RuntimeError
        On any rank but the first; see `help_to_fit`.
    """
    trained, sample = train_model(
        settings, cells, layer=layer, batch_key=batch_key, verbose=verbose
    )
    fitted = place_cells(trained, sample, places)
    if settings.objective.dec and fitted.partition.n_clusters > 1:
        labels = fitted.partition.labels[sample.rows]
        fitted = place_cells(_refined(trained, sample, labels, verbose=verbose), sample, places)
    say_found(fitted.partition, verbose=verbose)
    return fitted


def help_to_fit(
    settings: Settings,
    cells: Cells,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
) -> None:
    """Do the work of a rank other than the first, which gets all results; see `fit_model`."""
    trained, sample = train_model(settings, cells, layer=layer, batch_key=batch_key, verbose=False)
    with one_thread() as n_threads:
        for _ in placements(trained.network, sample, trained.anchors, n_threads):
            pass  # yields nothing, but sends this rank's blocks to the first rank


def place_cells(
    trained: Trained,
    cells: Sample | SelectedCounts,
    places: Places,
    placed: Iterable[tuple[np.ndarray, sparse.csr_matrix]] = (),
) -> Fitted:
    """Place all cells among the anchors of a trained model, and cluster them.

    Parameters
    ----------
    trained
        The model.
    cells
        Counts of its genes, of all n cells.
    places
        Storage for the latent and the weights of the cells.
    placed
        Latent and weights of the first cells, in blocks, if an earlier run has placed them.

    Returns
    -------
    The fitted model.

    Raises
    ------
    RuntimeError
        On any rank but the first; see `help_to_fit`.
    """
    if ranks.index() > 0:
        raise RuntimeError("only the first rank has a model; the others help to fit it.")
    with one_thread() as n_threads:
        latent, weights = _placed(trained, cells, places, placed, n_threads)
        links, found = _clusters(weights, trained.settings)
    return Fitted(
        settings=trained.settings,
        genes=trained.genes,
        batches=trained.batches,
        median_counts=trained.median_counts,
        network=trained.network,
        history=trained.history,
        anchors=trained.anchors,
        profiles=trained.profiles,
        latent=latent,
        weights=weights,
        partition=found,
        links=links,
    )


def _refined(trained: Trained, sample: Sample, labels: np.ndarray, *, verbose: bool) -> Trained:
    """Continue training with DEC, starting from these clusters of the training cells."""
    settings = trained.settings
    with one_thread(), Progress(settings.max_steps, verbose=verbose) as progress:
        refine(
            trained.network,
            sample.data,
            labels,
            objective=settings.objective,
            schedule=Schedule(max_steps=settings.max_steps),
            seed=settings.seed,
            progress=progress,
        )
        anchors = centres(trained.network, sample.data, settings.seed)
        held_out = profiles(trained.network, sample.data, anchors, settings.seed)
    return replace(trained, anchors=anchors, profiles=held_out)


def _placed(
    trained: Trained,
    cells: Sample | SelectedCounts,
    places: Places,
    placed: Iterable[tuple[np.ndarray, sparse.csr_matrix]],
    n_threads: int,
) -> tuple[Any, Any]:
    """Return the latent and weights of all cells."""
    network, anchors = trained.network, trained.anchors
    places.start(len(cells.totals), anchors.shape[1], len(anchors))
    n_placed = 0
    for latent, weights in placed:
        places.add(latent, weights)
        n_placed += len(latent)
    for part in placements(network, cells, anchors, n_threads, n_placed):
        places.add(part.latent, part.weights)
    return places.end()


def _clusters(weights: Any, settings: Settings) -> tuple[sparse.csr_matrix, Partition]:
    """Return the links between the anchors, and the clusters for these settings."""
    links = anchor_links(weights)
    found = partition(
        weights,
        settings.resolution,
        settings.wanted_clusters,
        seed=settings.seed,
        min_cells=settings.min_cells,
        links=links,
    )
    return links, found


def say_found(found: Partition, *, verbose: bool) -> None:
    """Log the number of clusters, and warn if there is only one for lack of evidence."""
    warn_of_one(found, stacklevel=4)
    plural = "" if found.n_clusters == 1 else "s"
    say(f"{found.n_clusters} cluster{plural}", verbose=verbose)
