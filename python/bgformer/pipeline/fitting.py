"""The fit from counts to clusters: a trained model, and all cells placed among its anchors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.data.checks import warn_blank
from bgformer.fit.dec import refine
from bgformer.fit.schedule import Schedule
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
    import pandas as pd
    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.data.sample import Sample, SelectedCounts
    from bgformer.graph.communities import Partition
    from bgformer.pipeline.places import Kept, Places
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
    fitted = place_cells(trained, sample, places, cells.obs_names)
    if settings.objective.dec and fitted.partition.n_clusters > 1:
        labels = fitted.partition.labels[sample.rows]
        trained = _refined(trained, sample, labels, verbose=verbose)
        fitted = place_cells(trained, sample, places, cells.obs_names)
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
    names: pd.Index,
    kept: Kept | None = None,
    *,
    verbose: bool = False,
) -> Fitted:
    """Place all cells among the anchors of a trained model, and cluster them.

    Cells without counts in the model's genes cause a warning.

    Parameters
    ----------
    trained
        The model.
    cells
        Counts of its genes, of all n cells.
    places
        Storage for the latent and the weights of the cells.
    names
        Names of the cells, for the warning.
    kept
        What an interrupted run has placed, and where to keep the rest; None to keep nothing.
    verbose
        Say how many cells an interrupted run has placed.

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
        latent, weights, blank = _placed(trained, cells, places, kept, n_threads, verbose=verbose)
        warn_blank(np.flatnonzero(blank), len(trained.genes), names)
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
    kept: Kept | None,
    n_threads: int,
    *,
    verbose: bool,
) -> tuple[Any, Any, np.ndarray]:
    """Return the latent and weights of all cells, and which have no counts, shape (n,)."""
    network, anchors, n_placed = trained.network, trained.anchors, 0
    blank = np.zeros(cells.n_cells, dtype=bool)
    places.start(cells.n_cells, anchors.shape[1], len(anchors))
    for block in kept.placed(trained) if kept else ():
        places.add(block.latent, block.weights)
        blank[n_placed : n_placed + len(block.blank)] = block.blank
        n_placed += len(block.blank)
    if verbose:
        say(f"continuing with {n_placed} of {cells.n_cells} cells placed", verbose=True)
    for block in placements(network, cells, anchors, n_threads, n_placed):
        if kept:
            kept.keep(n_placed, block)
        places.add(block.latent, block.weights)
        blank[n_placed : n_placed + len(block.blank)] = block.blank
        n_placed += len(block.blank)
    return *places.end(), blank


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
