"""Give new cells the clusters of a fitted model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bgformer.arguments import flag, text_or_none, wrong
from bgformer.model import BGFormer
from bgformer.store.results import check_key, check_storable, copy_of, store

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.pipeline.fitted import Fitted


def predict(
    adata: AnnData,
    reference: BGFormer | str | Path,
    *,
    layer: str | None = None,
    device: str = "auto",
    key_added: str = "bgformer",
    copy: bool = False,
) -> AnnData | None:
    """Give new cells the clusters of a fitted model, as ``bgformer predict`` does for a file.

    Nothing is trained: the cells are placed among the anchors of the model. Genes are matched by
    name. Genes that the new cells lack are treated as not measured, with a warning.

    Cells of types that the reference lacks are "unassigned". They are found together: the counts
    of such a cell look more like those of other new cells near it than like the reference's there.
    This needs some tens of cells of a type, and a profile that differs from all in the reference;
    see docs/benchmarks.md for how often it works. What differs from the reference in most clusters
    is treated as a difference between batches.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts in ``X`` or in a layer.
    reference
        A fitted model, or the folder of a saved one.
    layer
        Layer that holds the counts; None for ``X``.
    device
        "auto" (cuda, then mps, then cpu) or the name of a torch device, for a saved model.
    key_added
        Name under which the results are stored.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy if `copy` is True. The results are where those of
    :func:`bgformer.tl.cluster` are, so the plots and :func:`bgformer.tl.recluster` take them.
    ``obs[key_added]`` has all clusters of the reference as categories, and "unassigned" if there
    are such cells; these stay unassigned in :func:`bgformer.tl.recluster`.
    ``obs[key_added + "_outlier"]`` is the share of the reference's own cells that are less unlike
    the others, float32 from 0 to 1; above 0.9, cells are unassigned. The confidence is that in the
    nearest cluster, also of unassigned cells. ``obsm["X_" + key_added]`` is the reference's own
    latent space, so cells of both can be compared.

    Raises
    ------
    CountsError, ValueError
        If the model is not fitted or damaged, fewer than half of its genes are there, or the
        counts cannot be used; `adata` is then unchanged.
    FileNotFoundError
        If there is no model in the folder.
    TypeError
        If `adata` is not an AnnData.

    Examples
    --------
    >>> model = bgf.BGFormer().fit(reference)
    >>> bgf.tl.predict(adata, model)
    >>> adata.obs["bgformer"].value_counts()
    """
    check_storable(adata)
    check_key(adata, key_added)
    layer, copy = text_or_none("layer", layer), flag("copy", copy)
    found = _model(reference, device).placed(adata, layer=layer)
    adata = copy_of(adata) if copy else adata
    store(adata, found, key_added, layer=layer, predicted=True)
    return adata if copy else None


def _model(reference: BGFormer | str | Path, device: str) -> Fitted:
    """Return a fitted model, or load one."""
    if isinstance(reference, str | os.PathLike):
        return BGFormer.load(Path(reference), device=device).fitted
    if not isinstance(reference, BGFormer):
        raise wrong("reference", reference, "a fitted BGFormer, or the folder of a saved one")
    return reference.fitted
