"""Colours of groups of cells: their own, or those of the clusters that they resemble."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bgformer.store.looks import colours_name
from bgformer.store.palette import PALETTE, added_colours

if TYPE_CHECKING:
    from anndata import AnnData


def colours_of(adata: AnnData, name: str, key: str) -> list[str]:
    """Return a colour for each category of a column.

    These are the stored ones if there are enough. Otherwise a category has the colour of the
    cluster with which it shares most cells, if that is half of either, or one that no cluster has.

    Parameters
    ----------
    adata
        The cells.
    name
        A categorical column of ``obs``.
    key
        Name of the results.
    """
    groups = adata.obs[name]
    categories = groups.cat.categories.astype(str)
    stored = adata.uns.get(colours_name(name))
    if stored is not None and len(stored) >= len(categories):
        return list(map(str, stored))[: len(categories)]
    clusters = adata.obs[key].astype("category")
    of_clusters = adata.uns.get(colours_name(key), ())
    if len(of_clusters) != len(clusters.cat.categories):
        return added_colours({}, list(categories))
    shared = pd.crosstab(groups, clusters, dropna=False)
    shared = shared.reindex(index=groups.cat.categories, columns=clusters.cat.categories)
    pairs = _pairs(shared.fillna(0).to_numpy())
    if not pairs:
        return added_colours({}, list(categories))
    found = {categories[group]: str(of_clusters[cluster]) for group, cluster in pairs.items()}
    # a colour of another cluster would seem to mean that cluster
    free = [colour for colour in PALETTE if colour not in of_clusters] or list(PALETTE)
    new = [name for name in categories if name not in found]
    found |= dict(zip(new, itertools.cycle(free)))
    return [found[name] for name in categories]


def _pairs(shared: np.ndarray) -> dict[int, int]:
    """Return the cluster of each group that has one, given the cells that they share."""
    pairs: dict[int, int] = {}
    of_group, of_cluster = shared.sum(axis=1), shared.sum(axis=0)
    for at in np.argsort(-shared, axis=None, kind="stable"):
        group, cluster = (int(i) for i in np.unravel_index(at, shared.shape))
        least = min(of_group[group], of_cluster[cluster]) / 2
        if shared[group, cluster] > least and group not in pairs:
            if cluster not in pairs.values():
                pairs[group] = cluster
    return pairs
