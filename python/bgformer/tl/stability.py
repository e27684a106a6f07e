"""Number and stability of the clusters at each resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import sparse

from bgformer.arguments import resolutions_in, whole
from bgformer.graph.stability import RESOLUTIONS, over_resolutions
from bgformer.pipeline.refits import fitted_to_half
from bgformer.runtime.threads import one_thread
from bgformer.store.reading import results
from bgformer.store.results import weights_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

_MOST_FITS = 1000
"""Maximum number of models to retrain; each takes as long as a fit."""


def resolutions(
    adata: AnnData,
    resolutions: Sequence[float] = RESOLUTIONS,
    *,
    n_fits: int = 0,
    key_added: str = "bgformer",
) -> pd.DataFrame:
    """Return the number of clusters at each resolution, and how stable they are.

    Stability is measured on all cells, or on 20,000 drawn at random (Hennig 2007,
    doi:10.1016/j.csda.2006.11.025).

    Parameters
    ----------
    adata
        Cells with the results of :func:`cluster`; not changed.
    resolutions
        Resolutions to try.
    n_fits
        Number of models to retrain, each on a random half of the cells and with its own seed. The
        raw counts must be where :func:`cluster` read them. Each model takes about as long as
        :func:`cluster` did. With 0, nothing is retrained.
    key_added
        Name under which :func:`cluster` stored its results.

    Returns
    -------
    Table with a row for each resolution, in ascending order:

    "resolution", "n_clusters"
        The resolution and its number of clusters.
    "stability"
        Mean adjusted Rand index, at most 1, between the clusters of the cells and those of ten
        bootstrap samples of them.
    "retrained"
        Mean adjusted Rand index between the clusters of the cells and those that the retrained
        models assign to the same cells; only with `n_fits`. It is usually lower than "stability",
        because it includes the variation between fits.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no results named `key_added`, if `resolutions` is empty or one of them is
        not above 0, or if the counts for retraining cannot be used.
    """
    stored = results(adata, key_added)
    wanted = resolutions_in(resolutions)
    weights = sparse.csr_matrix(adata.obsm[weights_name(key_added)])
    others = [
        fitted_to_half(adata, stored["params"], draw)
        for draw in range(whole("n_fits", n_fits, 0, _MOST_FITS))
    ]
    with one_thread():
        return over_resolutions(
            weights,
            wanted,
            int(stored["seed"]),
            others,
            min_cells=int(stored["params"]["min_cells"]),
        )
