"""The cells that R holds in its memory."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from bgformer.r.session import r_attached


def cells_in_r(batch_key: str | None = None) -> AnnData:
    """Convert the counts (genes x cells) and batches in R's environment ``bridge``.

    The counts may be R's own memory, so they are marked read-only.
    """
    with r_attached():
        import anndata2ri
        from rpy2 import rinterface
        from rpy2.robjects import default_converter
        from rpy2.robjects.conversion import get_conversion, localconverter

        bgformer = rinterface.baseenv["asNamespace"](rinterface.StrSexpVector(["bgformer"]))
        held = bgformer["bridge"]
        with localconverter(default_converter + anndata2ri.converter):
            counts = get_conversion().rpy2py(held["counts"])
        genes, cells = (list(names) for names in held["counts"].do_slot("Dimnames"))
        batch = list(held["batch"])
    counts.data.flags.writeable = False
    obs = pd.DataFrame(index=pd.Index(cells, dtype=object))
    if batch_key is not None:
        obs[batch_key] = batch
    return AnnData(counts.T, obs=obs, var=pd.DataFrame(index=pd.Index(genes, dtype=object)))
