"""Marker genes of the clusters at many resolutions, from one pass over the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from bgformer.data.source import source_of
from bgformer.pipeline.group_sums import Grouping, clusters_of, dealer_for, sums_of
from bgformer.store.reading import results
from bgformer.store.reference import model_in
from bgformer.store.results import weights_name
from bgformer.tl.marker_genes import empty_table, table_of, tests_without_checks
from bgformer.tl.profiling import as_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from bgformer.data.cells import Cells
    from bgformer.data.source import StoredCells
    from bgformer.graph.levels import Level

Table = dict[str, np.ndarray]

_MOST_GROUPS = 300
"""Groups of cells that sums are kept of; more take more memory."""


class Groups(NamedTuple):
    """Groups of cells, or of anchors, that are in one cluster at every level.

    Attributes
    ----------
    of_levels
        Cluster of each group at each level, groups x levels.
    members
        Group of each cell, shape (n,), or of each anchor, shape (m,).
    """

    of_levels: np.ndarray
    members: np.ndarray


def level_markers(
    adata: AnnData,
    cells: Cells | StoredCells,
    key: str,
    levels: Sequence[Level],
    exact: int = 0,
    n_genes: int = 10,
    layer: str | None = None,
) -> list[Table]:
    """Return the best marker genes of the clusters at each level.

    They are those that :func:`bgformer.tl.markers` returns after reclustering at each resolution,
    but the counts are read only once: sums are kept of groups of cells that are in one cluster at
    every level, and added up for each level.

    Up to 300 groups are kept, the largest, and at least one of each cluster. The cells of others
    count for the group whose clusters are theirs at most levels. With more groups, only the
    results of one level are therefore exact. The cluster of a cell by the first half of its counts
    is that of its nearest anchor at the level. Memory grows with groups x genes: at most 200 MB
    for 10,000 genes.

    Parameters
    ----------
    adata
        Results of bgformer; counts are not read from it.
    cells
        The raw counts of these cells, where the fit read them.
    key
        Name of the results.
    levels
        Clusters of these cells, as from `graph.levels.levels`.
    exact
        Number of the level that has sums of its own.
    n_genes
        Number of genes for each cluster.
    layer
        Layer that holds the counts; None for the one that the fit read.

    Returns
    -------
    What `marker_genes.table_of` returns, for the clusters of each level. The table of a level with
    one cluster is empty.
    """
    layer = results(adata, key)["params"].get("layer") if layer is None else layer
    source = source_of(cells, layer, min_cells=1)  # which checks the names of the genes
    weights = sparse.csr_matrix(adata.obsm[weights_name(key)])
    dealer = dealer_for(model_in(adata, key), weights, cells.var_names)
    of_cells, of_anchors = groups_of_cells(levels), groups_of_anchors(levels)
    groupings = [
        clusters_of(levels[exact].groups.astype(np.int64), levels[exact].n_clusters + 1, dealer),
        Grouping(
            of_cells.members,
            len(of_cells.of_levels),
            of_anchors.members,
            len(of_anchors.of_levels),
        ),
    ]
    own, (sums, held_out) = sums_of(source, groupings, dealer)
    tables: dict[bytes, Table] = {}  # often several levels have the same clusters
    keys = []
    for at, level in enumerate(levels):
        into, of_half = of_cells.of_levels[:, at], of_anchors.of_levels[:, at]
        keys.append(b"exact" if at == exact else into.tobytes() + of_half.tobytes())
        if keys[-1] not in tables:
            n = level.n_clusters + 1
            merged = None if held_out is None else held_out.merged(of_half, n)
            of_level = own if at == exact else (sums.merged(into, n), merged)
            numbers = [str(cluster) for cluster in range(n)]
            profiles = as_profiles(*of_level, numbers, cells.var_names, {})
            tables[keys[-1]] = _table(profiles, level.n_clusters, n_genes)
    return [dict(tables[one]) for one in keys]


def groups_of_cells(levels: Sequence[Level]) -> Groups:
    """Return the groups of cells; those of no cluster have a cluster after all others."""
    members = np.zeros(len(levels[0].labels), dtype=np.int64)
    found = np.zeros((1, 0), dtype=np.int64)
    for level in levels:  # far faster than to look for unique rows
        n = level.n_clusters + 1
        of_cells = members * n + level.groups
        is_there = np.bincount(of_cells) > 0
        pairs, members = np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[of_cells]
        found = np.column_stack([found[pairs // n], pairs % n])
    kept = _kept(found, np.bincount(members))
    if len(kept) == len(found):
        return Groups(found, members)
    nearest = np.array([np.argmax((found[kept] == one).sum(axis=1)) for one in found])
    nearest[kept] = np.arange(len(kept))
    return Groups(found[kept], nearest[members])


def _kept(of_levels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the groups that sums are kept of, ascending: the largest, and one of each cluster."""
    order, seen = np.argsort(-sizes, kind="stable"), set[tuple[int, int]]()
    needed = []
    for group in order:
        own = set(enumerate(of_levels[group].tolist()))
        if not own <= seen:
            needed.append(group)
            seen |= own
    others = order[~np.isin(order, needed)]
    return np.sort([*needed, *others[: max(0, _MOST_GROUPS - len(needed))]])


def groups_of_anchors(levels: Sequence[Level]) -> Groups:
    """Return the groups of anchors."""
    of_levels = np.column_stack([level.anchor_clusters for level in levels])
    found, members = np.unique(of_levels, axis=0, return_inverse=True)
    return Groups(found, members.ravel())


def _table(profiles: AnnData, n_clusters: int, n_genes: int) -> Table:
    """Return the table of the first clusters of some profiles; unassigned cells come after."""
    if (profiles.obs["n_cells"] > 0).sum() < 2:
        return empty_table()
    table = table_of(profiles, tests_without_checks(profiles), n_genes)
    own = table["cluster"] < n_clusters
    return {name: values[own] for name, values in table.items()}
