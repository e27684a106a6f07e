"""Log-normalised values of a few genes, computed from the counts for one plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bgformer.data import checks
from bgformer.data.counts import log_normalised, with_size_factors

if TYPE_CHECKING:
    from anndata import AnnData


def expression_of(adata: AnnData, genes: list[str], layer: str | None) -> AnnData:
    """Return the log-normalised values of some genes as a new AnnData, cells x genes."""
    import anndata as ad

    counts = checks.read_counts(adata, layer, min_cells=1)
    batch = np.zeros(adata.n_obs, dtype=np.int64)  # log_normalised ignores it
    values = log_normalised(with_size_factors(counts, batch))
    return ad.AnnData(
        values[:, adata.var_names.get_indexer(genes)],
        obs=pd.DataFrame(index=adata.obs_names),
        var=pd.DataFrame(index=pd.Index(genes)),
    )
