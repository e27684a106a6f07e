"""Storage for cells that also keeps them in a checkpoint, so that a run can go on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgformer.runtime.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from scipy import sparse

    from bgformer.pipeline.places import Places
    from bgformer.pipeline.training import Trained
    from bgformer.store.checkpoint import Checkpoint


class KeptPlaces:
    """Storage for cells that also keeps them in a checkpoint. It is one of `places.Places`.

    Parameters
    ----------
    places
        The storage.
    checkpoint
        A checkpoint that was started.
    """

    def __init__(self, places: Places, checkpoint: Checkpoint) -> None:
        self._places, self._checkpoint = places, checkpoint
        self._n_kept = self._n_added = 0

    def placed(
        self, trained: Trained, *, verbose: bool
    ) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Yield what the checkpoint has of the cells, and log how many; `add` keeps none again."""
        for latent, weights in self._checkpoint.placed(trained):
            self._n_kept += len(latent)
            yield latent, weights
        say(
            f"continuing with {self._n_kept} of {len(trained.totals)} cells placed",
            verbose=verbose,
        )

    def start(self, n_cells: int, n_latent: int, n_anchors: int) -> None:
        """Begin with the first cell."""
        self._places.start(n_cells, n_latent, n_anchors)
        self._n_added = 0

    def add(self, latent: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Add the next cells, and keep them unless they are from the checkpoint."""
        if self._n_added >= self._n_kept:
            self._checkpoint.keep(self._n_added, latent, weights)
        self._places.add(latent, weights)
        self._n_added += len(latent)

    def end(self) -> tuple[Any, Any]:
        """Return what the storage returns."""
        return self._places.end()
