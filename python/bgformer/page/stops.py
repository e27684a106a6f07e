"""The stops of the resolution slider: the stored clusters, and those at many resolutions."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.colors import is_color_like, to_hex
from scipy import sparse

from bgformer.graph.communities import partition_of_assigned
from bgformer.graph.continuity import heirs
from bgformer.graph.defaults import DEFAULT_RESOLUTION
from bgformer.graph.evidence import evidence
from bgformer.graph.levels import RESOLUTIONS, Level, levels
from bgformer.graph.stability import over_resolutions
from bgformer.graph.votes import vote_in_blocks
from bgformer.messages import InputError
from bgformer.runtime.threads import one_thread
from bgformer.store.looks import UNASSIGNED, Looks, looks_of, unassigned_in
from bgformer.store.palette import GREY, kept_colours
from bgformer.store.results import held_out_of, weights_name
from bgformer.tl.clustering import links_of_all

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class Stop(NamedTuple):
    """Clusters at one stop of the slider.

    Attributes
    ----------
    level
        The clusters.
    is_stored
        Whether they are those that the results hold.
    looks
        Their names and colours; each stop takes the colours from its neighbour.
    evidence
        Table of what separates each from its nearest one.
    stability
        See `graph.stability.over_resolutions`; nan for stored clusters that are not those of one
        of the resolutions.
    asked
        Arguments of `recluster` that give these clusters; None if none do, as for the stored
        clusters of a subset.
    """

    level: Level
    is_stored: bool
    looks: Looks
    evidence: pd.DataFrame
    stability: float
    asked: dict[str, Any] | None

    def described(self) -> dict[str, Any]:
        """Return the stop as JSON holds it; numbers of clusters are indices into its lists."""
        table, apart = self.evidence, self.level.unassigned
        n_cells = list(map(int, self.level.n_cells))
        names, colours = list(self.looks.names), list(map(hex_of, self.looks.colours))
        if apart is not None and apart.any():
            names, colours = [*names, UNASSIGNED], [*colours, GREY]
            n_cells.append(int(apart.sum()))
        return {
            "resolution": finite(self.level.resolution),
            "stored": self.is_stored,
            "clusters": self.level.n_clusters,
            "stability": finite(self.stability),
            "names": names,
            "colours": colours,
            "cells": n_cells,
            "nearest": list(map(int, table["nearest"])),
            "links": list(map(finite, table["links"])),
            "gap": list(map(finite, table["gap"])),
            "gap_p": list(map(finite, table["gap_p"])),
            "n_markers": list(map(int, table["n_markers"])),
            "markers": list(map(str, table["markers"])),
        }


def stops_of(adata: AnnData, key: str, stored: dict[str, Any]) -> list[Stop]:
    """Return the stops of results, by resolution; the stored clusters are one of them.

    Parameters
    ----------
    adata
        The cells with their results; counts are not needed.
    key, stored
        Name of the results, and what `store.reading.results` returns for it.
    """
    weights = sparse.csr_matrix(adata.obsm[weights_name(key)])
    unassigned = unassigned_in(adata.obs, key, stored)
    seed, min_cells = int(stored["seed"]), int(stored["params"]["min_cells"])
    links = links_of_all(adata, stored)
    with one_thread():
        found = levels(
            weights, RESOLUTIONS, seed, min_cells=min_cells, links=links, unassigned=unassigned
        )
        table = over_resolutions(weights, RESOLUTIONS, seed, min_cells=min_cells)
    own = _stored_level(stored, weights, unassigned)
    at = _place_of(own, found)
    found.insert(at, own)
    stability = list(table["stability"])
    same = [
        steady
        for level, steady in zip(found[:at] + found[at + 1 :], stability, strict=True)
        if level.resolution == own.resolution and np.array_equal(level.labels, own.labels)
    ]
    stability.insert(at, same[0] if same else np.nan)
    held_out = held_out_of(adata, key, stored)
    genes = np.asarray(stored["genes"])
    looks = _looks(looks_of(adata, key, stored, weights), found, at, weights)
    stops = [
        Stop(
            level,
            False,
            looks[place],
            evidence(level, held_out, genes),
            stability[place],
            {"resolution": level.resolution},
        )
        for place, level in enumerate(found)
        if place != at
    ]
    asked = _asked(own, stored, weights, links)
    # the evidence of the fit, also in a subset, where some clusters may have no cells
    mine = Stop(own, True, looks[at], stored["evidence"], stability[at], asked)
    return [*stops[:at], mine, *stops[at:]]


def _asked(
    own: Level, stored: dict[str, Any], weights: sparse.csr_matrix, links: sparse.csr_matrix | None
) -> dict[str, Any] | None:
    """Return the arguments with which `recluster` gives the stored clusters; None if none do."""
    if np.isnan(own.resolution):
        tried: list[dict[str, Any]] = [{"n_clusters": own.n_clusters}]
    else:
        tried = [{}] if own.resolution == DEFAULT_RESOLUTION else []
        tried.append({"resolution": own.resolution})
    for asked in tried:
        with suppress(InputError), one_thread():
            found = partition_of_assigned(
                weights,
                own.unassigned,
                asked.get("resolution"),
                asked.get("n_clusters"),
                seed=int(stored["seed"]),
                min_cells=int(stored["params"]["min_cells"]),
                links=links,
            )
            if np.array_equal(found.labels, own.labels):
                return asked
    return None


def _stored_level(
    stored: dict[str, Any], weights: sparse.csr_matrix, unassigned: np.ndarray | None
) -> Level:
    """Return the stored clusters as a level; its resolution is nan if a number was given."""
    anchor_clusters = np.asarray(stored["anchor_clusters"])
    table = stored["evidence"]
    return Level(
        float(stored["resolution"]),
        vote_in_blocks(weights, anchor_clusters)[0],
        anchor_clusters,
        table["nearest"].astype(int).to_numpy(),
        table["links"].to_numpy(dtype=float),
        unassigned,
    )


def _place_of(own: Level, found: list[Level]) -> int:
    """Return where the stored clusters come among levels in order of resolution."""
    if np.isnan(own.resolution):  # a number of clusters was given
        later = [place for place, level in enumerate(found) if level.n_clusters > own.n_clusters]
    else:
        later = [place for place, level in enumerate(found) if level.resolution >= own.resolution]
    return later[0] if later else len(found)


def _looks(own: Looks, found: list[Level], at: int, weights: sparse.csr_matrix) -> list[Looks]:
    """Return names as `recluster` would give them, and colours that change little on the way."""
    mass = np.asarray(weights.sum(axis=0)).ravel()
    partitions = [np.asarray(level.anchor_clusters) for level in found]
    looks = {at: own}
    for places, back in ((range(at + 1, len(found)), -1), (range(at - 1, -1, -1), 1)):
        for place in places:
            before, now = partitions[place + back], partitions[place]
            colours = kept_colours(looks[place + back].colours, heirs(before, now, mass))
            named = own.inherited(partitions[at], now, mass)
            looks[place] = named._replace(colours=colours)
    return [looks[place] for place in range(len(found))]


def hex_of(colour: str) -> str:
    """Return a colour that matplotlib knows as "#rrggbb", which browsers know, too."""
    return to_hex(colour) if is_color_like(colour) else GREY


def finite(value: float) -> float | None:
    """Return a number with six digits for JSON, which has no nan."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
