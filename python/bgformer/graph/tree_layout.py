"""Where the clusters of a tree are drawn: rows of resolutions, children below their parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import igraph
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from bgformer.graph.tree import Tree

SMALLEST = 0.45
"""Diameter of the smallest clusters, as a share of that of the largest."""
_APART = 0.12
"""Least distance between two clusters, in the same unit."""
_LEAST_SHARE = 0.1
"""Edges with a smaller share of the cells of a cluster are not drawn, as in clustree."""


class Drawing(NamedTuple):
    """What is drawn of a tree; a resolution with the clusters of the one before has no row.

    Attributes
    ----------
    rows
        Table with a row for each line of clusters: "lowest" and "highest" resolution, "label" and
        "n_clusters".
    nodes
        Rows of `Tree.nodes` with "row" (0 the lowest resolution), "x" and "diameter". The unit of
        both is the diameter of the largest cluster; x is above 0.
    edges
        Rows of `Tree.edges` with "row" and "x" of the cluster that the edge leads to, and "x_from"
        of the other; those with at least a tenth of its cells.
    width
        Upper bound of x.
    """

    rows: pd.DataFrame
    nodes: pd.DataFrame
    edges: pd.DataFrame
    width: float


def diameters(n_cells: np.ndarray, largest: int) -> np.ndarray:
    """Return the diameters of clusters, relative to that of the largest."""
    return SMALLEST + (1 - SMALLEST) * np.sqrt(n_cells / largest)


def layout(tree: Tree) -> Drawing:
    """Return where each cluster and each edge of a tree is drawn."""
    rows = _rows(tree)
    nodes = tree.nodes.merge(rows.rename(columns={"lowest": "resolution"})[["resolution", "row"]])
    diameter = diameters(nodes["n_cells"].to_numpy(), int(nodes["n_cells"].max()))
    at = {key: i for i, key in enumerate(zip(nodes["row"], nodes["cluster"], strict=True))}
    edges = tree.edges[tree.edges["share"] >= _LEAST_SHARE]
    edges = edges.merge(rows.rename(columns={"lowest": "resolution"})[["resolution", "row"]])
    later = np.array([at[key] for key in zip(edges["row"], edges["to"], strict=True)], dtype=int)
    earlier = np.array(
        [at[row - 1, name] for row, name in zip(edges["row"], edges["from"], strict=True)],
        dtype=int,
    )
    row, parent = nodes["row"], nodes["parent"]
    parents = np.array([at.get((r - 1, p), -1) for r, p in zip(row, parent, strict=True)])
    order = _order(nodes["row"].to_numpy(), earlier, later, edges["n_cells"].to_numpy())
    x, width = _places(parents, diameter, order)
    return Drawing(
        rows.drop(columns="row"),
        nodes.assign(x=x, diameter=diameter),
        edges.assign(x=x[later], x_from=x[earlier]),
        width,
    )


def _rows(tree: Tree) -> pd.DataFrame:
    """Return the resolutions of each row."""
    edges, first = tree.edges, tree.nodes.groupby("resolution")["n_clusters"].first()
    whole = (edges["share"] == 1) & (edges["from"] == edges["to"])
    same = whole.groupby(edges["resolution"]).all()
    changed = ~((first == first.shift()) & same.reindex(first.index, fill_value=False))
    resolution = pd.Series(first.index, index=first.index)
    bounds = resolution.groupby(changed.cumsum() - 1).agg(["min", "max"])
    bounds.columns = ["lowest", "highest"]
    # R's pdf() has no other dash in its default encoding
    label = [f"{a:g}" if a == b else f"{a:g}-{b:g}" for a, b in bounds.to_numpy()]
    n_clusters = first[bounds["lowest"]].to_numpy()
    return bounds.assign(label=label, n_clusters=n_clusters, row=np.arange(len(bounds)))


def _order(
    row: np.ndarray, earlier: np.ndarray, later: np.ndarray, n_cells: np.ndarray
) -> np.ndarray:
    """Return the clusters row by row, in an order in which few edges cross, (n,)."""
    graph = igraph.Graph(len(row), list(zip(earlier, later, strict=True)), directed=True)
    placed = graph.layout_sugiyama(layers=row.tolist(), weights=n_cells.tolist(), maxiter=1000)
    return np.lexsort((np.array(placed.coords)[: len(row), 0], row))


def _places(
    parents: np.ndarray, diameter: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the x of each cluster, in the middle of a block with all that it splits into."""
    n = len(parents)
    width = diameter + _APART
    inside = np.zeros(n)
    for node in range(n - 1, -1, -1):  # children come after their parents
        width[node] = max(width[node], inside[node])
        if parents[node] >= 0:
            inside[parents[node]] += width[node]
    left = np.zeros(n)
    free = {-1: 0.0}  # where the next child of each cluster goes; of -1, the next without parent
    for node in order:
        parent = int(parents[node])
        left[node] = free[parent]
        free[parent] += width[node]
        free[int(node)] = left[node] + (width[node] - inside[node]) / 2
    return left + width / 2, free[-1]
