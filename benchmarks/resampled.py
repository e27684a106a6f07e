"""Simulate large data sets with known labels by mixing pairs of real cells.

Two cells with the same label are drawn with replacement, and each of their counts is kept with
probability 1/2. Total counts and the share of zeros thus stay close to those of real cells.
Thinned copies of single cells would not work: the nearest neighbours of a cell would be its own
copies, and methods based on neighbours would find thousands of clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 50_000


def write_resampled(source: Path, n_cells: int, target: Path, seed: int = 0) -> None:
    """Write `n_cells` cells resampled from `source` (.h5ad, raw counts in ``X``) to `target`.

    The counts are written in blocks, so that memory does not limit the number of cells.
    """
    real = anndata.read_h5ad(source)
    counts, labels = sparse.csr_matrix(real.X, dtype=np.float32), real.obs["cell_type"].to_numpy()
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(labels), size=n_cells)
    partner = np.empty_like(drawn)
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels[drawn] == label)
        partner[of_label] = rng.choice(np.flatnonzero(labels == label), size=len(of_label))
    names = pd.Index([f"cell{i}" for i in range(n_cells)])
    obs = pd.DataFrame({"cell_type": pd.Categorical(labels[drawn])}, index=names)
    empty = sparse.csr_matrix((n_cells, real.n_vars), dtype=np.float32)
    anndata.AnnData(empty, obs=obs, var=real.var[[]]).write_h5ad(target)
    with h5py.File(target, "r+") as file:
        encoding = dict(file["X"].attrs)
        del file["X"]
        group = file.create_group("X")
        group.attrs.update(encoding)
        growing = {"maxshape": (None,), "shape": (0,), "chunks": (1 << 20,)}
        data = group.create_dataset("data", dtype=np.float32, **growing)
        indices = group.create_dataset("indices", dtype=np.int32, **growing)
        ends = [np.zeros(1, dtype=np.int64)]
        for block in _dealt(counts, drawn, partner, seed):
            start, stop = int(ends[-1][-1]), int(ends[-1][-1]) + block.nnz
            for dataset, values in ((data, block.data), (indices, block.indices)):
                dataset.resize((stop,))
                dataset[start:] = values
            ends.append(start + block.indptr[1:].astype(np.int64))
        group.create_dataset("indptr", data=np.concatenate(ends))


def _dealt(
    counts: sparse.csr_matrix, drawn: np.ndarray, partner: np.ndarray, seed: int
) -> Iterator[sparse.csr_matrix]:
    """Yield half the counts of the drawn cells plus half those of their partners, in blocks."""
    rng = np.random.default_rng(seed + 1)
    for start in range(0, len(drawn), _BLOCK):
        halves = []
        for cells in (drawn, partner):
            half = counts[cells[start : start + _BLOCK]]
            half.data = rng.binomial(half.data.astype(np.int64), 0.5).astype(np.float32)
            halves.append(half)
        block = sparse.csr_matrix(halves[0] + halves[1])
        block.eliminate_zeros()
        yield block
