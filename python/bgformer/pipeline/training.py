"""The first half of a fit, from counts to a trained model: genes, network, metric, anchors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bgformer.data.checks import read_batch
from bgformer.data.sample import Sample, SelectedCounts
from bgformer.data.source import OnDisk, source_of
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.schedule import Schedule
from bgformer.fit.trainer import set_tokens, train
from bgformer.graph.anchors import centres, choose_number
from bgformer.graph.evidence import profiles
from bgformer.messages import InputError, InputWarning
from bgformer.network.heads import N_HEADS
from bgformer.network.network import NEIGHBOURS
from bgformer.runtime import ranks
from bgformer.runtime.devices import pick_device
from bgformer.runtime.progress import Progress, say
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from bgformer.data.cells import Cells
    from bgformer.data.counts import CountData
    from bgformer.graph.evidence import Profiles
    from bgformer.network.network import Network
    from bgformer.pipeline.settings import Settings


@dataclass(frozen=True)
class Trained:
    """A trained model among whose anchors no cells have been placed yet.

    Attributes
    ----------
    settings, genes, batches, median_counts, network, history, anchors, profiles
        As in `fitted.Fitted`.
    columns
        Columns of the count matrix that hold the genes, shape (g,).
    n_cells
        Number of all cells.
    """

    settings: Settings
    genes: np.ndarray
    columns: np.ndarray
    batches: list[str]
    n_cells: int
    median_counts: float
    network: Network
    history: dict[str, np.ndarray]
    anchors: np.ndarray
    profiles: Profiles

    def counts_of(
        self, cells: Cells, layer: str | None = None, batch_key: str | None = None
    ) -> SelectedCounts:
        """Return the counts of the model's genes; `cells` must be those it was trained on."""
        source = source_of(cells, layer)
        if isinstance(source, OnDisk):
            source.check = None  # their values were checked before training
        batch, _ = read_batch(cells, batch_key)
        return SelectedCounts(source, self.columns, batch, self.median_counts)


def train_model(
    settings: Settings,
    cells: Cells,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    verbose: bool = True,
) -> tuple[Trained, Sample]:
    """Train on the counts of cells; see `fitting.fit_model` for the parameters and errors.

    Returns
    -------
    The trained model, and the cells it was trained on, from which all cells can be read.
    """
    device = pick_device(settings.device)
    _check_processes(settings)
    source = source_of(cells, layer)
    n_anchors = _number_of_anchors(settings, cells.n_obs)
    batch, batches = read_batch(cells, batch_key)
    seen = settings.max_steps * Schedule.batch_size
    sample = Sample(source, settings.n_top_genes, batch, seen, settings.seed)
    data = sample.data
    with one_thread():
        part = "" if sample.holds_all else f", trained on {data.n_cells} of the cells"
        size = f"{cells.n_obs} cells x {data.n_genes} genes"
        say(f"{size}, {n_anchors} anchors, {device.type}{part}", verbose=verbose)
        network = network_for(
            data,
            n_batches=len(batches),
            n_anchors=n_anchors,
            n_latent=settings.n_latent,
            seed=settings.seed,
        ).to(device)
        history = {}
        if ranks.index() == 0:
            history = _trained(network, data, settings, verbose=verbose)
        ranks.as_on_first(*network.state_dict().values())
        anchors = centres(network, data, settings.seed)
        trained = Trained(
            settings=settings,
            genes=np.asarray(cells.var_names[sample.genes], dtype=str),
            columns=sample.genes,
            batches=batches,
            n_cells=cells.n_obs,
            median_counts=data.median_counts,
            network=network,
            history=history,
            anchors=anchors,
            profiles=profiles(network, data, anchors, settings.seed),
        )
    return trained, sample


def _check_processes(settings: Settings) -> None:
    """Raise InputError if what is asked for cannot be shared between processes."""
    if settings.objective.dec and ranks.count() > 1:
        raise InputError(
            "dec-in-several-processes",
            "DEC runs in one process only; set its weight to 0, or use one process.",
        )


def _number_of_anchors(settings: Settings, n_cells: int) -> int:
    """Return the number of anchors, and warn if every cell would attend to all of a head."""
    if settings.min_cells > n_cells:
        raise InputError(
            "too-large-clusters",
            "{name[min_cells]} is {min_cells}, but there are only {n_cells} cells.",
            min_cells=settings.min_cells,
            n_cells=n_cells,
        )
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
    network: Network, data: CountData, settings: Settings, *, verbose: bool
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
        )
    calibrate(network, data, settings.seed, trained=True)
    return history
