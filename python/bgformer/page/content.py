"""What a report says and draws: text as JSON holds it, and arrays of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer.graph.anchor_graph import ONE_TYPE
from bgformer.graph.tree import NO_GAP
from bgformer.graph.votes import vote_in_blocks
from bgformer.network.anchor_weights import heaviest
from bgformer.page.columns import drawable, encoded, expression_of, scaled
from bgformer.page.stops import stops_of
from bgformer.page.summary import calls_of, calls_of_stop, facts_of, notes_of
from bgformer.store.looks import names_of
from bgformer.store.reading import results
from bgformer.store.results import confidence_name, umap_name, weights_name
from bgformer.tl.level_markers import level_markers

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.cells import Cells
    from bgformer.data.source import StoredCells
    from bgformer.page.stops import Stop

MOST_CELLS = 200_000
"""Number of cells that are drawn at most."""
_MOST_VALUES = 20_000_000
"""Number of values of genes that are stored at most."""
_MOST_GENES, _GENES_EACH = 300, 10
"""Number of genes that cells can be coloured by at most, and of markers of each cluster."""
_LARGEST = 65_535
"""Places are whole numbers up to this."""


def content_of(
    adata: AnnData, cells: Cells | StoredCells, key: str, layer: str | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `packing.page_of` takes; parameters are those of `report.written`."""
    stored = results(adata, key)
    stops = stops_of(adata, key, stored)
    rows = _drawn(adata.n_obs, int(stored["seed"]))
    layer = stored["params"].get("layer") if layer is None else layer
    genes = cells.var_names
    stored_at = next(at for at, stop in enumerate(stops) if stop.is_stored)
    marked = level_markers(
        adata, cells, key, [stop.level for stop in stops], stored_at, _GENES_EACH, layer
    )
    wanted = _genes_shown(marked, len(rows))
    used = np.isin(genes, stored["genes"])
    most, expression, n_blank = expression_of(cells, layer, wanted, rows, used)
    others = adata.obs.drop(columns=_own_columns(adata, key))
    names, left_out = drawable(others, stored["params"].get("batch_key"))
    is_changed = names_of(adata.obs, key, stored, adata.obsm[weights_name(key)]) is None
    columns, values = encoded(adata, names, rows)
    content = {
        "title": _title(cells),
        "key": key,
        "facts": facts_of(stored, adata.n_obs, cells.n_vars),
        "notes": notes_of(stops, stored, adata.n_obs, n_blank, is_changed=is_changed),
        "calls": calls_of(stored, key),
        "n_cells": adata.n_obs,
        "cells": list(map(str, adata.obs_names[rows])),
        "stops": [
            stop.described()
            | {"calls": calls_of_stop(stop, key), "table": _markers_said(of, genes)}
            for stop, of in zip(stops, marked, strict=True)
        ],
        "columns": columns,
        "left_out": left_out,
        "genes": [
            {"name": str(genes[gene]), "most": high}
            for gene, high in zip(wanted, most, strict=True)
        ],
        "history": {
            name: [float(f"{value:.5g}") for value in series]
            for name, series in stored["history"].items()
        },
        "markers_note": "The ten best genes of each cluster against all other cells. The "
        "p-values are from held-out counts: one half of each cell's counts gives it a cluster, "
        "and the other half is tested. For clusters other than the stored ones, values can differ "
        "a little from those of bgf.tl.markers() and BGFormerMarkers(), because sums are kept of "
        "at most 300 groups of cells.",
        "one_type": ONE_TYPE,
        "no_gap": NO_GAP,
        "ramp": _ramp(),
    }
    arrays = _places(adata, key, rows) | {
        "confidence": scaled(_confidence(adata, key, stored)[rows], 0, 1),
        "labels": _labels(stops, rows),
        "expression": expression,
    }
    arrays |= {f"column{i}": of for i, of in enumerate(values)}
    arrays |= _anchors(adata, key, stops, rows, arrays)
    return content, arrays


def _drawn(n_cells: int, seed: int) -> np.ndarray:
    """Return the cells that are drawn, ascending."""
    if n_cells <= MOST_CELLS:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, MOST_CELLS, replace=False))


def _confidence(adata: AnnData, key: str, stored: dict[str, Any]) -> np.ndarray:
    """Return the confidence in the stored clusters, whose column may have been removed, (n,)."""
    weights = sparse.csr_matrix(adata.obsm[weights_name(key)])
    clusters, support = (np.asarray(stored[f"anchor_{part}"]) for part in ("clusters", "support"))
    return vote_in_blocks(weights, clusters, support)[1]


def _own_columns(adata: AnnData, key: str) -> list[str]:
    """Return the columns that the page has in another form."""
    return [name for name in (key, confidence_name(key)) if name in adata.obs]


def _title(cells: Cells | StoredCells) -> str:
    """Return what the page is called."""
    name = getattr(cells, "filename", None)
    return f"Clusters of {Path(name).name}" if name else f"Clusters of {cells.n_obs:,} cells"


def _genes_shown(marked: list[dict[str, np.ndarray]], n_cells: int) -> np.ndarray:
    """Return the genes that cells can be coloured by: the best markers first come first."""
    n = min(_MOST_GENES, max(1, _MOST_VALUES // max(n_cells, 1)))
    ranked: dict[int, int] = {}
    for table in marked:
        cluster = table["cluster"]
        first = np.searchsorted(cluster, cluster)
        for gene, rank in zip(table["gene"], np.arange(len(cluster)) - first, strict=True):
            ranked[int(gene)] = min(int(rank), ranked.get(int(gene), _GENES_EACH))
    return np.array(sorted(ranked, key=ranked.__getitem__)[:n], dtype=np.int64)


def _markers_said(table: dict[str, np.ndarray], genes: Any) -> dict[str, list[Any]] | None:
    """Return a table of markers as JSON holds it."""
    if len(table["gene"]) == 0:
        return None
    said: dict[str, list[Any]] = {
        "cluster": table["cluster"].tolist(),
        "gene": [str(genes[gene]) for gene in table["gene"]],
    }
    for name in ("log2_fold_change", "detected", "detected_rest", "p_adjusted"):
        said[name] = [float(f"{value:.4g}") for value in table[name]]
    return said


def _labels(stops: list[Stop], rows: np.ndarray) -> np.ndarray:
    """Return the cluster of each drawn cell at each stop, stops x cells."""
    labels = np.array([stop.level.groups[rows] for stop in stops])
    return labels.astype(np.uint8 if labels.max() < 256 else np.uint16)


def _places(adata: AnnData, key: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the places of the drawn cells, on one scale for both axes."""
    at = np.asarray(adata.obsm[umap_name(key)], dtype=np.float64)[rows]
    low = at.min(axis=0)
    width = float((at.max(axis=0) - low).max()) or 1.0
    places = ((at - low) / width * _LARGEST).round().astype(np.uint16)
    return {"x": places[:, 0], "y": places[:, 1]}


def _anchors(
    adata: AnnData,
    key: str,
    stops: list[Stop],
    rows: np.ndarray,
    places: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return place, number of cells and clusters of the anchors that are nearest to any cell."""
    weights = sparse.csr_matrix(adata.obsm[weights_name(key)])
    nearest = heaviest(weights)
    n_cells = np.bincount(nearest, minlength=weights.shape[1])
    drawn = np.bincount(nearest[rows], minlength=weights.shape[1])
    there = np.flatnonzero(drawn)
    at = {
        f"anchor_{axis}": (
            np.bincount(nearest[rows], places[axis], weights.shape[1])[there] / drawn[there]
        )
        .round()
        .astype(np.uint16)
        for axis in ("x", "y")
    }
    clusters = np.array([np.asarray(stop.level.anchor_clusters)[there] for stop in stops])
    return at | {
        "anchor_cells": n_cells[there].astype(np.float32),
        "anchor_clusters": clusters.astype(np.uint16),
    }


def _ramp() -> list[str]:
    """Return colours for numbers, from low to high."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["viridis_r"](np.linspace(0, 1, 64))]
