"""The UMAP of the latent space that cells and anchors are drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from bgformer.arguments import flag
from bgformer.graph.umap import MIN_DIST, NEIGHBOURS, SPREAD, umap_of
from bgformer.store.naming import foreign
from bgformer.store.reading import results
from bgformer.store.results import (
    check_storable,
    copy_of,
    is_plane,
    latent_name,
    umap_name,
    weights_name,
)

if TYPE_CHECKING:
    from anndata import AnnData

_SCANPYS = "X_umap"
"""Where scanpy looks for a UMAP."""


def umap(adata: AnnData, *, key_added: str = "bgformer", copy: bool = False) -> AnnData | None:
    """Compute a UMAP of the latent space (McInnes et al. 2018, arXiv:1802.03426).

    Up to 10,000 cells are optimised together, as by :func:`scanpy.tl.umap`. Of more cells, 3,000
    landmarks are: cells of all anchors, and those furthest from their anchors, which rare types
    can be. The other cells are then optimised among the landmarks. The seed of the results gives
    the same UMAP every time, with any number of threads and in R.

    Parameters
    ----------
    adata
        Cells with the results of :func:`cluster`.
    key_added
        Name under which :func:`cluster` stored its results.
    copy
        Return a copy with the UMAP instead of changing `adata`.

    Returns
    -------
    None, or the copy if `copy` is True. These are set:

    ``adata.obsm["X_" + key_added + "_umap"]``
        The UMAP, n x 2 float32. Fewer than four cells are placed along the principal axes of their
        latent instead.
    ``adata.obsm["X_umap"]``, ``adata.uns["umap"]``
        The same and its parameters, where :func:`scanpy.pl.umap` looks for them; not if there is
        an ``X_umap`` of your own. One from an earlier call is replaced.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    ValueError
        If `adata` has no results named `key_added`, or those of other cells, or if the place of
        the UMAP holds something else.

    Examples
    --------
    >>> bgf.tl.umap(adata)
    >>> scanpy.pl.umap(adata, color="bgformer")
    """
    stored = results(adata, key_added)
    check_storable(adata)
    place = umap_name(key_added)
    if place in adata.obsm and not is_plane(adata.obsm[place]):
        raise foreign("obsm", place, "key_added")
    adata = copy_of(adata) if flag("copy", copy) else adata
    seed = int(stored["seed"])
    before = adata.obsm.get(place)
    adata.obsm[place] = umap_of(
        np.asarray(adata.obsm[latent_name(key_added)]),
        sparse.csr_matrix(adata.obsm[weights_name(key_added)]),
        np.asarray(stored["anchors"]),
        seed,
    )
    theirs = adata.obsm.get(_SCANPYS)
    # one that differs from ours is the user's own
    is_ours = _says_ours(adata, key_added) if before is None else np.array_equal(theirs, before)
    if theirs is None or is_ours:
        adata.obsm[_SCANPYS] = adata.obsm[place].copy()
        params: dict[str, Any] = {
            "min_dist": MIN_DIST,
            "spread": SPREAD,
            "n_neighbors": NEIGHBOURS,
        }
        params |= {"random_state": seed, "use_rep": latent_name(key_added)}
        adata.uns["umap"] = {"params": params}
    return adata if copy else None


def _says_ours(adata: AnnData, key: str) -> bool:
    """Tell whether scanpy's UMAP is said to be of the latent of these results."""
    stored = adata.uns.get("umap")
    params = stored.get("params") if isinstance(stored, Mapping) else None
    return isinstance(params, Mapping) and params.get("use_rep") == latent_name(key)
