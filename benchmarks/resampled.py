"""Large data sets of known labels: cells of a real set, drawn again and thinned.

A cell is drawn with replacement; then each single count is kept by the toss of a coin whose odds,
drawn anew for every cell, are between 0.7 and 1. So no two cells are the same, depths vary, the
share of zeros stays close to that of the real cells, and labels are known.
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

    The counts are written block by block, so that memory does not limit how many cells there are.
    """
    real = anndata.read_h5ad(source)
    counts, labels = sparse.csr_matrix(real.X, dtype=np.float32), real.obs["cell_type"].to_numpy()
    drawn = np.random.default_rng(seed).integers(len(labels), size=n_cells)
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
        for block in _thinned(counts, drawn, seed):
            start, stop = int(ends[-1][-1]), int(ends[-1][-1]) + block.nnz
            for dataset, values in ((data, block.data), (indices, block.indices)):
                dataset.resize((stop,))
                dataset[start:] = values
            ends.append(start + block.indptr[1:].astype(np.int64))
        group.create_dataset("indptr", data=np.concatenate(ends))


def _thinned(
    counts: sparse.csr_matrix, drawn: np.ndarray, seed: int
) -> Iterator[sparse.csr_matrix]:
    """Give the drawn cells, thinned, a block at a time."""
    rng = np.random.default_rng(seed + 1)
    for start in range(0, len(drawn), _BLOCK):
        block = counts[drawn[start : start + _BLOCK]]
        kept = np.repeat(rng.uniform(0.7, 1, block.shape[0]), np.diff(block.indptr))
        block.data = rng.binomial(block.data.astype(np.int64), kept).astype(np.float32)
        block.eliminate_zeros()
        yield block
