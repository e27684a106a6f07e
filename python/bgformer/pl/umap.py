"""The UMAP of the latent space that cells and anchors are drawn in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bgformer.store.results import latent_name, umap_name

if TYPE_CHECKING:
    from anndata import AnnData

_SCANPYS = "X_umap"
"""Where scanpy looks for a UMAP."""


def ensure_umap(adata: AnnData, key: str) -> None:
    """Compute the UMAP of the latent space unless it is stored already.

    It starts from the first two principal axes. The spectral start that is scanpy's default needs
    a connected graph of neighbours, which well separated cells do not have.
    """
    import anndata as ad
    import scanpy as sc
    from sklearn.decomposition import PCA

    place = umap_name(key)
    if place in adata.obsm:
        return
    # A separate AnnData leaves the caller's neighbours and their settings unchanged.
    cells = ad.AnnData(np.asarray(adata.obsm[latent_name(key)]))
    seed = int(adata.uns[key]["seed"])
    sc.pp.neighbors(cells, n_neighbors=min(15, cells.n_obs - 1), use_rep="X", random_state=seed)
    start = PCA(2, random_state=seed).fit_transform(cells.X)
    sc.tl.umap(cells, init_pos=start, random_state=seed)
    adata.obsm[place] = cells.obsm[_SCANPYS].astype(np.float32)
    if _SCANPYS not in adata.obsm or _is_ours(adata, key):
        adata.obsm[_SCANPYS] = adata.obsm[place].copy()
        adata.uns["umap"] = {
            "params": {**cells.uns["umap"]["params"], "use_rep": latent_name(key)}
        }


def _is_ours(adata: AnnData, key: str) -> bool:
    """Tell whether scanpy's UMAP was put there by an earlier call, for earlier results."""
    params = dict(adata.uns.get("umap", {})).get("params", {})
    return bool(params.get("use_rep", "") == latent_name(key))
