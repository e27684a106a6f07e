"""Storage for the latent and the weights of the cells: in memory, in a file, or of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bgformer.graph.placement import Placement
    from bgformer.pipeline.training import Trained


class Places(Protocol):
    """Collects the latent and weights of n cells block by block, and returns them."""

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Allocate space, and discard earlier contents."""

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Add the next cells, b x d and CSR b x m."""

    def end(self) -> tuple[Any, Any]:
        """Return latent (n x d) and weights (CSR n x m), as arrays or objects sliced like them."""


class Kept(Protocol):
    """Keeps blocks of cells that were placed, so that an interrupted run can continue."""

    def placed(self, trained: Trained) -> Iterator[Placement]:
        """Yield the first cells that were placed, in blocks."""

    def keep(self, first: int, placed: Placement) -> None:
        """Keep a block of cells, `first` the number of the first one."""


class InMemoryPlaces:
    """Keeps latent and weights in arrays."""

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Discard earlier contents."""
        self._latent: list[np.ndarray] = []
        self._weights: list[sparse.csr_matrix] = []

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Add the next cells."""
        self._latent.append(latent)
        self._weights.append(weights)

    def end(self) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Return latent (n x d float32) and weights (CSR n x m)."""
        weights = _one(self._weights, lambda parts: sparse.vstack(parts, format="csr"))
        return _one(self._latent, np.concatenate), weights


def _one(parts: Sequence[Any], join: Any) -> Any:
    """Join parts; a single part is returned without a copy."""
    return parts[0] if len(parts) == 1 else join(parts)
