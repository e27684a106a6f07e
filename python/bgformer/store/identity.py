"""Which fit a cell's results are from: a number for each cell, made from its latent."""

from __future__ import annotations

from typing import Any

import numpy as np

from bgformer.runtime import block_sizes


def fingerprints(latent: Any) -> np.ndarray:
    """Return a number for the latent of each cell, uint64 of shape (n,).

    Cells of the same fit keep theirs when they are subset, reordered, renamed, or written to a
    file. Two fits do not give a cell the same latent to the last digit.

    Parameters
    ----------
    latent
        n x n_latent, an array or what is sliced like one.
    """
    n, width = latent.shape
    factors = np.random.default_rng(0).integers(1, 2**63, width, dtype=np.uint64) | np.uint64(1)
    found = np.zeros(n, dtype=np.uint64)
    for start in range(0, n, block_sizes.WEIGHTS):
        rows = np.ascontiguousarray(latent[start : start + block_sizes.WEIGHTS], dtype=np.float32)
        bits = rows.view(np.uint32).astype(np.uint64)
        found[start : start + len(rows)] = (bits * factors).sum(axis=1)  # modulo 2^64
    return found


def n_foreign(cells: np.ndarray, of_fit: np.ndarray) -> int:
    """Return how many of these fingerprints are not among those of a fit, or there too often."""
    if len(cells) == len(of_fit) and cells.sum() == of_fit.sum():
        return 0  # the same cells, in any order
    seen, times = np.unique(cells, return_counts=True)
    known, times_known = np.unique(of_fit, return_counts=True)
    at = np.minimum(np.searchsorted(known, seen), len(known) - 1)
    allowed = np.where(known[at] == seen, times_known[at], 0)
    return int(np.maximum(times - allowed, 0).sum())


def any_known(latent: Any, of_fit: np.ndarray) -> bool:
    """Tell whether the latent of any cell is of a fit, given the fit's fingerprints.

    Reads no further than the first block with such a cell.
    """
    step = block_sizes.WEIGHTS
    return any(
        np.isin(fingerprints(latent[start : start + step]), of_fit).any()
        for start in range(0, latent.shape[0], step)
    )
