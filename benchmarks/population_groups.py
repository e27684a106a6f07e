"""Groups of cells that are one population, and groups that are two or more.

Groups of one population are the cell lines within each protocol of sc_mixology_5cl, known from
genotypes. Groups of more are five hand-picked groups of pbmc3k, and pairs of types from the other
sets. If possible, each set contributes a rare type with a large one, its two nearest pairs and a
random pair. Pairs are chosen with a fixed seed from labels and PCA, and never from the results of
a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
from labelled import SETS_WITH_BATCHES, labelled_sets
from methods import scanpy_pca
from peers import components
from scores import rare_types

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_CELLS = 60
MIN_SMALLER = 15
"""Minimum numbers of cells in a group and in its smallest type, except for pbmc3k."""
N_NEAREST = 2
PROTOCOLS_OF_PAIRS = ("sc_celseq2_5cl_p3", "sc_dropseq")
"""Protocols of sc_mixology_5cl from which a random pair of cell lines is drawn."""
NOT_A_TYPE = ("Mis",)
"""Labels of cells to which their authors gave no type ("Mis" in snareseq_mop_10k)."""
PBMC3K = {
    "B with platelets": ("B", "Platelet"),
    "CD8 T with NK": ("CD8 T", "NK"),
    "CD14+ with FCGR3A+ monocytes": ("CD14+ Mono", "FCGR3A+ Mono"),
    "CD14+ monocytes with dendritic cells": ("CD14+ Mono", "DC"),
    "all T and NK": ("Naive CD4 T", "Memory CD4 T", "CD8 T", "NK"),
}


@dataclass(frozen=True)
class Group:
    """Cells to cluster on their own.

    Attributes
    ----------
    name
        Name in tables, "set: types".
    dataset
        Data set of the cells.
    kind
        "one" for one population. For several, how they were chosen: "pbmc3k", "rare", "nearest" or
        "random".
    types
        Cell types of the group.
    protocol
        Batch of the cells; None for all batches.
    """

    name: str
    dataset: str
    kind: str
    types: tuple[str, ...]
    protocol: str | None = None

    def cells(self, full: anndata.AnnData) -> np.ndarray:
        """Return True for the cells of the set that belong to the group."""
        inside = full.obs["cell_type"].astype(str).isin(self.types)
        if self.protocol:
            inside &= full.obs["batch"] == self.protocol
        return inside.to_numpy()


def groups(full: anndata.AnnData, name: str) -> list[Group]:
    """Return the groups of one set, the same in every call."""
    if name in SETS_WITH_BATCHES:
        return [*lines(full, name), *line_pairs(full, name)]
    if name == "pbmc3k":
        return [
            Group(f"pbmc3k: {title}", name, "pbmc3k", types) for title, types in PBMC3K.items()
        ]
    return list(type_pairs(full, name))


def all_groups() -> Iterator[tuple[str, anndata.AnnData, list[Group]]]:
    """Yield the name, the cells and the groups of each set."""
    for path in labelled_sets():
        full = anndata.read_h5ad(path)
        yield path.stem, full, groups(full, path.stem)


def lines(full: anndata.AnnData, name: str) -> Iterator[Group]:
    """Yield each cell line within each protocol if it has enough cells."""
    for (protocol, line), cells in full.obs.groupby(["batch", "cell_type"], observed=True):
        if len(cells) >= MIN_CELLS:
            yield Group(f"{line}, {protocol}", name, "one", (line,), protocol)


def line_pairs(full: anndata.AnnData, name: str) -> Iterator[Group]:
    """Yield a random pair of cell lines within each of two protocols."""
    rng = np.random.default_rng(0)
    for protocol in PROTOCOLS_OF_PAIRS:
        sizes = full.obs.loc[full.obs["batch"] == protocol, "cell_type"].astype(str).value_counts()
        pair = rng.permutation(large_enough(sizes))[0]
        yield pair_group(name, "random", tuple(map(str, pair)), protocol)


def large_enough(sizes: pd.Series) -> list[tuple[str, str]]:
    """Return the pairs of types with enough cells."""
    usable = sorted(sizes.index[(sizes >= MIN_SMALLER) & ~sizes.index.isin(NOT_A_TYPE)])
    return [(a, b) for a, b in combinations(usable, 2) if sizes[a] + sizes[b] >= MIN_CELLS]


def type_pairs(full: anndata.AnnData, name: str) -> Iterator[Group]:
    """Yield the nearest pairs, a rare type with a large one, and a random pair; none twice."""
    rng = np.random.default_rng(0)
    truth = full.obs["cell_type"].astype(str).to_numpy()
    sizes = pd.Series(truth).value_counts()
    usable, rare = large_enough(sizes), set(rare_types(truth))
    large = set(sizes.index[sizes >= 0.1 * len(truth)])
    distance = centroid_distances(full, truth)
    nearest = sorted(usable, key=lambda pair: distance.loc[pair])
    with_rare = [(a, b) for a, b in usable if len({a, b} & rare) == len({a, b} & large) == 1]
    taken: set[tuple[str, str]] = set()
    for kind, pairs, wanted in (
        ("nearest", nearest, N_NEAREST),
        ("rare", [with_rare[i] for i in rng.permutation(len(with_rare))], 1),
        ("random", [usable[i] for i in rng.permutation(len(usable))], 1),
    ):
        for pair in [pair for pair in pairs if pair not in taken][:wanted]:
            taken.add(pair)
            yield pair_group(name, kind, pair)


def pair_group(name: str, kind: str, pair: tuple[str, str], protocol: str | None = None) -> Group:
    """Return the group of a pair."""
    where = f"{name}, {protocol}" if protocol else name
    return Group(f"{where}: {pair[0]} with {pair[1]}", name, kind, pair, protocol)


def centroid_distances(full: anndata.AnnData, truth: np.ndarray) -> pd.DataFrame:
    """Return the distances between centroids of types in 32 PCs of scaled log counts."""
    adata = anndata.AnnData(full.X.copy(), var=full.var[[]])  # a copy, which scanpy overwrites
    scanpy_pca(adata, 0)
    centroids = pd.DataFrame(components(adata)).groupby(truth).mean()
    apart = np.linalg.norm(centroids.to_numpy()[:, None] - centroids.to_numpy(), axis=2)
    return pd.DataFrame(apart, centroids.index, centroids.index)
