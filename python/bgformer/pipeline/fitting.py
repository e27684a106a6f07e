"""The fit from counts to clusters: genes, network, metric, training, anchors, clusters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.data.checks import read_batch, warn_blank
from bgformer.data.genes import select_genes
from bgformer.data.sample import Sample
from bgformer.data.source import source_of
from bgformer.fit.dec import refine
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.trainer import Schedule, set_tokens, train
from bgformer.graph.anchor_graph import anchor_links
from bgformer.graph.anchors import centres, choose_number
from bgformer.graph.communities import partition, warn_of_one
from bgformer.graph.evidence import profiles
from bgformer.graph.placement import placements
from bgformer.messages import InputError, InputWarning
from bgformer.network.heads import N_HEADS
from bgformer.network.network import NEIGHBOURS
from bgformer.pipeline.fitted import Fitted
from bgformer.pipeline.places import InMemoryPlaces
from bgformer.runtime import ranks
from bgformer.runtime.devices import one_thread, pick_device
from bgformer.runtime.progress import Progress, say

if TYPE_CHECKING:
    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.data.counts import CountData
    from bgformer.graph.communities import Partition
    from bgformer.network.network import Network
    from bgformer.pipeline.places import Places
    from bgformer.pipeline.settings import Settings


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
    fitted = _fit(settings, cells, places, layer, batch_key, verbose=verbose)
    if fitted is None:
        raise RuntimeError("only the first rank has a model; the others help to fit it.")
    return fitted


def help_to_fit(
    settings: Settings,
    cells: Cells,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
) -> None:
    """Do the work of a rank other than the first, which gets all results; see `fit_model`."""
    _fit(settings, cells, InMemoryPlaces(), layer, batch_key, verbose=False)


def _fit(
    settings: Settings,
    cells: Cells,
    places: Places,
    layer: str | None,
    batch_key: str | None,
    *,
    verbose: bool,
) -> Fitted | None:
    """Return the model, or None on ranks other than the first."""
    device = pick_device(settings.device)
    _check_processes(settings)
    source = source_of(cells, layer)
    n_anchors = _number_of_anchors(settings, cells.n_obs)
    batch, batches = read_batch(cells, batch_key)
    chosen = select_genes(source, settings.n_top_genes, batch)
    seen = settings.max_steps * Schedule.batch_size
    sample = Sample(source, chosen, batch, seen, settings.seed)
    data = sample.data
    warn_blank(sample.totals, len(chosen), cells.obs_names)
    with one_thread() as n_threads:
        part = "" if sample.holds_all else f", trained on {data.n_cells} of the cells"
        say(
            f"{cells.n_obs} cells x {len(chosen)} genes, {n_anchors} anchors, {device.type}{part}",
            verbose=verbose,
        )
        network = network_for(
            data,
            n_batches=len(batches),
            n_anchors=n_anchors,
            n_latent=settings.n_latent,
            seed=settings.seed,
        ).to(device)
        history = _trained(network, data, settings, n_threads, verbose=verbose)
        anchors = centres(network, data, settings.seed)
        latent, weights = _placed(network, sample, anchors, places, n_threads)
        if ranks.index() > 0:
            return None  # the first rank has all results
        links, found = _clusters(weights, settings)
        if settings.objective.dec and found.n_clusters > 1:
            _refined(network, data, found.labels[sample.rows], settings, verbose=verbose)
            anchors = centres(network, data, settings.seed)
            latent, weights = _placed(network, sample, anchors, places, n_threads)
            links, found = _clusters(weights, settings)
        held_out = profiles(network, data, anchors, settings.seed)
    _say_found(found, verbose=verbose)
    return Fitted(
        settings=settings,
        genes=np.asarray(cells.var_names[chosen], dtype=str),
        batches=batches,
        median_counts=data.median_counts,
        network=network,
        history=history,
        anchors=anchors,
        profiles=held_out,
        latent=latent,
        weights=weights,
        partition=found,
        links=links,
    )


def _check_processes(settings: Settings) -> None:
    """Raise InputError if what is asked for cannot be shared between processes."""
    if settings.objective.dec and ranks.count() > 1:
        raise InputError(
            "dec-in-several-processes",
            "DEC runs in one process only; set its weight to 0, or use one process.",
        )


def _number_of_anchors(settings: Settings, n_cells: int) -> int:
    """Return the number of anchors, and warn if every cell would attend to all of a head."""
    if settings.wanted_clusters is not None and settings.wanted_clusters > n_cells:
        raise InputError(
            "too-many-clusters",
            "{name[n_clusters]} is {given}, but there are only {n_cells} cells.",
            given=settings.n_clusters,
            n_cells=n_cells,
        )
    n_anchors = choose_number(n_cells, settings.n_anchors, settings.n_clusters)
    if n_anchors <= N_HEADS * NEIGHBOURS < n_cells and settings.n_anchors != "auto":
        warnings.warn(
            InputWarning(
                "few-anchors",
                "{name[n_anchors]} is {n_anchors}: every cell attends to all anchors of a head if "
                "it has {neighbours} or fewer, so clusters can hardly be separated; use more.",
                n_anchors=n_anchors,
                neighbours=NEIGHBOURS,
            ),
            stacklevel=4,
        )
    return n_anchors


def _trained(
    network: Network, data: CountData, settings: Settings, n_threads: int, *, verbose: bool
) -> dict[str, np.ndarray]:
    """Train the network, set its metric before and after, and return the training history."""
    calibrate(network, data, settings.seed)
    set_tokens(network, data, settings.seed)
    with Progress(settings.max_steps, verbose=verbose) as progress:
        history = train(
            network,
            data,
            objective=settings.objective,
            schedule=Schedule(max_steps=settings.max_steps),
            seed=settings.seed,
            progress=progress,
            n_threads=n_threads,
        )
    calibrate(network, data, settings.seed, trained=True)
    return history


def _refined(
    network: Network, data: CountData, labels: np.ndarray, settings: Settings, *, verbose: bool
) -> None:
    """Continue training with DEC, starting from these clusters of the training cells."""
    with Progress(settings.max_steps, verbose=verbose) as progress:
        refine(
            network,
            data,
            labels,
            objective=settings.objective,
            schedule=Schedule(max_steps=settings.max_steps),
            seed=settings.seed,
            progress=progress,
        )


def _placed(
    network: Network, sample: Sample, anchors: np.ndarray, places: Places, n_threads: int
) -> tuple[Any, Any]:
    """Return the latent and weights of all cells; None and None on ranks other than the first."""
    parts = placements(network, sample, anchors, n_threads)
    if ranks.index() > 0:
        for _ in parts:  # yields nothing, but sends this rank's blocks to the first rank
            pass
        return None, None
    places.start(len(sample.totals), anchors.shape[1], len(anchors))
    for part in parts:
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


def _say_found(found: Partition, *, verbose: bool) -> None:
    """Log the number of clusters, and warn if there is only one for lack of evidence."""
    warn_of_one(found, stacklevel=5)
    plural = "" if found.n_clusters == 1 else "s"
    say(f"{found.n_clusters} cluster{plural}", verbose=verbose)
