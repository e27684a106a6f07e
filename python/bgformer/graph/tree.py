"""How clusters split as the resolution grows, with the evidence for each of them.

A clustering tree (Zappia and Oshlack 2018, doi:10.1093/gigascience/giy083).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bgformer.graph.anchor_graph import ONE_TYPE
from bgformer.graph.evidence import evidence
from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgformer.graph.evidence import Profiles
    from bgformer.graph.levels import Level

RESOLUTIONS = (0.1, 0.3, 0.5, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0)
"""From the clusters that are separated, to ones that most cells do not support."""
NO_GAP = 0.001
"""With a p-value of at least this there is no gap between two clusters."""


class Tree(NamedTuple):
    """Clusters at several resolutions, and where their cells come from.

    Attributes
    ----------
    nodes
        Table with a row for each cluster at each resolution, in ascending order.

        "resolution", "n_clusters"
            The resolution and its number of clusters.
        "cluster", "n_cells"
            Number of the cluster as text, "0" the largest at this resolution, and its number of
            cells.
        "parent"
            Cluster at the next lower resolution that most of its cells come from; missing at the
            lowest resolution.
        "nearest", "links", "gap", "gap_p", "n_markers", "markers"
            What separates it from the nearest other cluster at this resolution; see
            `bgformer.graph.evidence.evidence`.
        "supported"
            False if there is no evidence for the split: the two share at least 0.16 of their
            links, as two halves of a single type do, and there is no gap between them (p of 0.001
            or more).
    edges
        Table with a row for each pair of clusters at successive resolutions that share cells.

        "resolution_from", "from"
            The lower resolution and the cluster there.
        "resolution", "to"
            The higher resolution and the cluster there.
        "n_cells", "share"
            Number of cells of both clusters, and their share of the cells of "to".
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame


def tree(found: Sequence[Level], held_out: Profiles, genes: np.ndarray) -> Tree:
    """Return how clusters split from one level to the next.

    Parameters
    ----------
    found
        Clusters of the same cells, in ascending order of the resolution; see `graph.levels`.
    held_out, genes
        As in `graph.evidence.evidence`.

    Raises
    ------
    InputError
        If all cells are unassigned.
    """
    if not any(level.n_cells.any() for level in found):
        raise InputError(
            "no-cells-of-clusters",
            "none of the {n_cells} cells is in a cluster; give cells of clusters.",
            n_cells=len(found[0].labels),
        )
    nodes, edges = [], []
    before: Level | None = None
    for level in found:
        if before is None or not np.array_equal(before.anchor_clusters, level.anchor_clusters):
            table = evidence(level, held_out, genes)
        parents: list[str | None] = [None] * level.n_clusters
        if before is not None:
            shared = _shared_cells(before, level)
            parents = [before.names[parent] for parent in shared.argmax(axis=0)]
            edges.append(_edges(before, level, shared))
        nodes.append(_nodes(level, table, parents))
        before = level
    return Tree(
        pd.concat(nodes, ignore_index=True),
        pd.concat(edges or [_edges(level, level, np.zeros((0, 0)))], ignore_index=True),
    )


def _nodes(level: Level, table: pd.DataFrame, parents: list[str | None]) -> pd.DataFrame:
    """Return the nodes of a level, given the evidence for its clusters."""
    measures = table.drop(columns=["cluster", "n_cells"])
    nodes = pd.DataFrame(
        {
            "resolution": level.resolution,
            "n_clusters": level.n_clusters,
            "cluster": level.names,
            "n_cells": level.n_cells,
            "parent": pd.Series(parents, dtype=object),
        }
    )
    one_type = (table["links"] >= ONE_TYPE) & ~(table["gap_p"] < NO_GAP)
    return pd.concat([nodes, measures], axis=1).assign(supported=~one_type)


def _shared_cells(before: Level, level: Level) -> np.ndarray:
    """Return the number of cells that clusters of two levels share, k before x k."""
    k, later = before.n_clusters, level.n_clusters
    pairs = before.labels.astype(np.int64) * later + level.labels
    if level.unassigned is not None:
        pairs = pairs[~level.unassigned]
    return np.bincount(pairs, minlength=k * later).reshape(k, later)


def _edges(before: Level, level: Level, shared: np.ndarray) -> pd.DataFrame:
    """Return the edges between two levels, in the order of the clusters that they lead to."""
    of_later, of_earlier = np.nonzero(shared.T)
    n_cells = shared[of_earlier, of_later]
    return pd.DataFrame(
        {
            "resolution_from": before.resolution,
            "from": [before.names[cluster] for cluster in of_earlier],
            "resolution": level.resolution,
            "to": [level.names[cluster] for cluster in of_later],
            "n_cells": n_cells,
            "share": n_cells / level.n_cells[of_later],
        }
    )
