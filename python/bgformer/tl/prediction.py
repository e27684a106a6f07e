"""Give new cells the clusters of a fitted model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from anndata import AnnData

from bgformer.arguments import flag, text_or_none, wrong
from bgformer.messages import InputError
from bgformer.model import BGFormer
from bgformer.store.labels import check_labels, labels_before, labels_in, predicted
from bgformer.store.reference import reference_in, with_own_cells
from bgformer.store.results import check_key, check_storable, copy_of, store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgformer.pipeline.fitted import Fitted
    from bgformer.store.looks import Looks


def predict(
    adata: AnnData,
    reference: AnnData | BGFormer | str | Path,
    *,
    labels: str | Sequence[str] | None = None,
    layer: str | None = None,
    device: str = "auto",
    key_added: str = "bgformer",
    copy: bool = False,
) -> AnnData | None:
    """Give new cells the clusters of a reference, and labels that its cells have.

    Nothing is trained: the cells are placed among the anchors of the reference. Genes are matched
    by name. Genes that the new cells lack are treated as not measured, with a warning.

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
        Cells with the results of :func:`bgformer.tl.cluster` named `key_added`; or a fitted model,
        or the folder of a saved one. Cells give their clusters as they are now: reclustered, and
        with the names and colours that you gave them. A subset of the cells is enough; a cluster
        of which no cell is left has its number as name.
    labels
        Column of ``reference.obs``, or several, such as "cell_type" or the "bgformer_sub" of
        :func:`bgformer.tl.subcluster`: new cells also get the label that has most of their weight
        on the anchors. Only for cells as reference, because a model has no labels.
    layer
        Layer that holds the counts; None for ``X``.
    device
        "auto" (cuda, then mps, then cpu) or the name of a torch device; not for a fitted model.
    key_added
        Name under which the results are stored, and under which cells as reference have theirs.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy if `copy` is True. The results are where those of
    :func:`bgformer.tl.cluster` are, so the plots and :func:`bgformer.tl.recluster` take them.
    ``obs[key_added]`` has all clusters of the reference as categories, and "unassigned" if there
    are such cells; these stay unassigned in :func:`bgformer.tl.recluster`.
    ``obs[key_added + "_outlier"]`` is the share of the reference's own cells that are less unlike
    the others, float32 from 0 to 1. Above 0.93, cells are unassigned: on average 7 % of the
    reference's own cells score higher. In single types, in small data sets or with another
    protocol, far more cells of known types can be unassigned. The confidence of unassigned cells
    is that of the nearest cluster.
    ``obsm["X_" + key_added]`` is the reference's own latent space, so cells of both can be
    compared. With `labels`, these are also set:

    ``adata.obs[label]``
        Label of each cell, categorical, in the column that has it in the reference; missing if
        most of its weight is of cells without a label, and "unassigned" if the cell is.
    ``adata.obs[label + "_confidence"]``
        Share of the cell's weight that the label has, float32 from 0 to 1. An anchor's weight is
        divided among labels as the weight of the reference's cells on it is.
    ``adata.uns[label + "_colors"]``
        Colours of the labels, if the reference has some.
    ``adata.uns[key_added]["labels"]``
        Names of these columns, and of those of earlier calls, which a later call may overwrite.

    Raises
    ------
    CountsError, ValueError
        If the reference has no results or they are not of its cells, the model is not fitted or
        damaged, fewer than half of its genes are there, the counts cannot be used, or `labels` is
        not a column with labels or would overwrite one of yours; `adata` is then unchanged.
    FileNotFoundError
        If there is no model in the folder.
    TypeError
        If `adata` is not an AnnData.

    Examples
    --------
    >>> bgf.tl.cluster(reference)
    >>> bgf.tl.predict(adata, reference, labels="cell_type")
    >>> adata.obs[["bgformer", "cell_type", "cell_type_confidence"]]
    """
    check_storable(adata)
    check_key(adata, key_added)
    layer, copy = text_or_none("layer", layer), flag("copy", copy)
    if labels is not None and not isinstance(reference, AnnData):
        raise InputError(
            "labels-of-a-model",
            "{name[labels]} needs cells that have them as {name[reference]}: an AnnData; a model "
            "has none.",
        )
    fitted, looks = _reference(reference, key_added, device)
    known = labels_in(reference, key_added, labels) if isinstance(reference, AnnData) else []
    check_labels(adata, key_added, known)
    found, earlier = fitted.placed(adata, layer=layer), labels_before(adata, key_added)
    adata = copy_of(adata) if copy else adata
    store(adata, found, key_added, layer=layer, predicted=True, looks=looks)
    predicted(known, found, earlier).add_to(adata, key_added)
    return adata if copy else None


def model(adata: AnnData, *, key_added: str = "bgformer", device: str = "auto") -> BGFormer:
    """Return the fitted model that results hold, for example to save it as a folder.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`.
    key_added
        Name of the results.
    device
        "auto" (cuda, then mps, then cpu) or the name of a torch device.

    Returns
    -------
    The model, with the cells that `adata` has, and the clusters, names and colours that these have
    now.

    Raises
    ------
    ValueError
        If `adata` has no results of this name, or they are not of its cells.

    Examples
    --------
    >>> bgf.tl.model(reference).save("reference")
    """
    fitted, looks = reference_in(adata, key_added, device, "adata")
    return BGFormer.of(with_own_cells(fitted, adata, key_added), looks)


def _reference(
    reference: AnnData | BGFormer | str | Path, key: str, device: str
) -> tuple[Fitted, Looks]:
    """Return the model of a reference, and the looks of its clusters."""
    if isinstance(reference, AnnData):
        return reference_in(reference, key, device)
    if isinstance(reference, str | os.PathLike):
        if Path(reference).suffix in (".h5ad", ".zarr"):
            raise InputError(
                "reference-not-read",
                "{name[reference]} '{given}' is a file with cells; read it first, for example "
                "with anndata.read_h5ad.",
                given=reference,
            )
        reference = BGFormer.load(Path(reference), device=device)
    if not isinstance(reference, BGFormer):
        raise wrong(
            "reference",
            reference,
            "an AnnData with results, a fitted BGFormer, or the folder of a saved one",
        )
    return reference.fitted, reference.looks
