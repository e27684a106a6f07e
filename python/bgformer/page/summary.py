"""What a report says of a run: its settings, the calls that repeat it, and what to know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer._version import __version__
from bgformer.pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgformer.page.stops import Stop

_IN_R = {"n_clusters": "n.clusters", "batch_key": "batch.var", "seed": "seed.use"}


def calls_of(stored: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the calls in Python and in R that repeat the fit."""
    if stored.get("predicted", False):
        return {
            "Python": "bgf.tl.predict(adata, reference)",
            "R": "PredictBGFormer(object, reference)",
        }
    settings = Settings()
    given = {
        name: value.item() if isinstance(value, np.generic) else value  # as files have them
        for name, value in stored["params"].items()
        if name in ("layer", "batch_key")
        or (name != "objective" and value != getattr(settings, name, value))
    }
    given["seed"] = int(stored["seed"])
    return {
        "Python": _in_python("bgf.tl.cluster", given, key),
        "R": _in_r("RunBGFormer", given),
    }


def calls_of_stop(stop: Stop, key: str) -> dict[str, str]:
    """Return what gives the clusters of a stop in Python and in R."""
    if stop.asked is None:
        return {"Python": f"adata.obs[{_text(key)}]", "R": "object$bgformer_clusters"}
    return {
        "Python": _in_python("bgf.tl.recluster", stop.asked, key),
        "R": _in_r("ReclusterBGFormer", stop.asked),
    }


def _in_python(function: str, given: Mapping[str, Any], key: str) -> str:
    """Return a call in Python."""
    given = given if key == "bgformer" else {**given, "key_added": key}
    shown = [f"{name}={_text(value)}" for name, value in given.items()]
    return f"{function}({', '.join(['adata', *shown])})"


def _in_r(function: str, given: Mapping[str, Any]) -> str:
    """Return a call in R, whose whole numbers have an L."""
    shown = [
        f"{_IN_R.get(name, name)} = {_text(value)}{'L' if isinstance(value, int) else ''}"
        for name, value in given.items()
    ]
    return f"object <- {function}({', '.join(['object', *shown])})"


def _text(value: Any) -> str:
    """Return a number or a text as both languages write it."""
    return json.dumps(value, ensure_ascii=False)


def facts_of(stored: Mapping[str, Any], n_cells: int, n_genes: int) -> list[list[str]]:
    """Return the facts of a run that a table shows, each a name and a value."""
    params = stored["params"]
    facts = [
        ["Cells", f"{n_cells:,}"],
        ["Genes", f"{n_genes:,}, of which {len(stored['genes']):,} were used"],
        ["Anchors", f"{len(stored['anchors']):,}"],
        ["Training steps", f"{len(stored['history']['loss']):,}"],
        ["Seed", str(int(stored["seed"]))],
        ["Version of the fit", f"bgformer {stored['version']}"],
        ["Version of the report", f"bgformer {__version__}"],
    ]
    for name, said in (("layer", "Layer with the counts"), ("batch_key", "Batches")):
        if params.get(name) is not None:
            facts.append([said, str(params[name])])
    return facts


def notes_of(
    stops: list[Stop], stored: Mapping[str, Any], n_cells: int, n_blank: int, *, is_changed: bool
) -> list[str]:
    """Return what a reader should know of the results, one sentence each.

    Parameters
    ----------
    stops, stored
        The stops, and the results.
    n_cells, n_blank
        Number of cells, and of those without counts in the genes that were used.
    is_changed
        Whether cells of one cluster have different names in their column.
    """
    own = next(stop for stop in stops if stop.is_stored)
    notes = []
    if stored.get("predicted", False):
        notes.append(
            "These cells were not fitted: they were placed among the clusters of other cells."
        )
    elif n_cells != stored["n_cells"]:
        notes.append(
            f"These are {n_cells:,} of the {int(stored['n_cells']):,} cells that were fitted. "
            "Stability is of the cells here, and the evidence of the stored clusters of all cells."
        )
    if own.level.unassigned is not None and own.level.unassigned.any():
        n_apart = int(own.level.unassigned.sum())
        notes.append(
            f"{n_apart:,} cells ({n_apart / n_cells:.1%}) are unassigned, because they are unlike "
            "the cells of the fit."
        )
    if own.level.n_clusters == 1 < int(stored["n_considered"]):
        notes.append(
            "There is one cluster, because no group of cells is separated from the others by a "
            f"gap. {int(stored['n_considered'])} clusters without such evidence were considered."
        )
    if is_changed:
        notes.append(
            "The clusters of single cells have been changed since. The report has those that "
            "bgformer found."
        )
    if n_blank:
        notes.append(
            f"{n_blank:,} cells have no counts in the genes that were used, so their clusters "
            "mean nothing."
        )
    return notes
