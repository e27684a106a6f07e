"""Write the report of a clustering into a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.arguments import text_or_none, wrong
from bgformer.messages import InputError
from bgformer.page.content import content_of
from bgformer.page.packing import GENERATOR, page_of
from bgformer.store.copies import writing
from bgformer.store.reading import results
from bgformer.store.replacing import written_beside
from bgformer.store.results import check_storable, umap_name
from bgformer.tl.latent_umap import umap

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.cells import Cells
    from bgformer.data.source import StoredCells


def report(
    adata: AnnData,
    path: str | Path,
    *,
    key_added: str = "bgformer",
    layer: str | None = None,
) -> None:
    """Write a report that opens in a browser, as one file that needs no network.

    It shows the cells in their UMAP, coloured by clusters, confidence, columns of ``obs`` or
    marker genes; the clusters at 30 resolutions, between which a slider moves, and their tree;
    what separates each cluster from its nearest one; marker genes; the confidence; and how to
    repeat all of it.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster` and their raw counts, in memory or
        backed. If the UMAP of :func:`bgformer.tl.umap` is not stored yet, it is computed and
        stored, as that function does. Nothing else is changed.
    path
        File to write, named .html. An earlier report is replaced; any other file is not. It holds
        names of cells, columns of ``obs`` and expression of marker genes: share it as you would
        share these. With more than 200,000 cells, a random sample of that many is drawn.
    key_added
        Name under which :func:`bgformer.tl.cluster` stored its results.
    layer
        Layer that holds the counts; None for the one that the clustering used, or ``X``.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no results named `key_added`, or has them of other cells; if the counts
        cannot be used; or if `path` is not named .html.
    FileExistsError
        If `path` is a file that is not a report, or a folder.
    OSError
        If the file cannot be written.
    TypeError
        If `adata` is not an AnnData.

    Examples
    --------
    >>> bgf.tl.cluster(adata)
    >>> bgf.report(adata, "report.html")
    """
    check_storable(adata)
    results(adata, key_added)
    written(adata, adata, key_added, checked(path), layer=text_or_none("layer", layer))


def written(
    adata: AnnData,
    cells: Cells | StoredCells,
    key: str,
    target: Path,
    source: Path | None = None,
    layer: str | None = None,
) -> None:
    """Write a report into a file, as a whole or not at all.

    Parameters
    ----------
    adata
        The cells with their results; a UMAP is added if there is none. Counts are not read from
        it.
    cells
        Where the counts of all genes are.
    key
        Name of the results.
    target
        The file, from `checked`.
    source
        The file that the cells are from, if any: the report is not readable by more people.
    layer
        As in `report`.
    """
    with written_beside(target, source) as partial:
        drawn = adata.obsm.get(umap_name(key), np.nan)
        if not np.isfinite(np.asarray(drawn)).all():
            umap(adata, key_added=key)
        content, arrays = content_of(adata, cells, key, layer)
        page = page_of(content, arrays)
        with writing(target):
            partial.write_text(page, encoding="utf-8")


def checked(path: Any) -> Path:
    """Return the path of a report.

    Raises
    ------
    InputError
        If it is not the name of an .html file.
    OSError
        If there is something else, or no such folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise wrong("path", path, "the name of an .html file")
    target = Path(path)
    if target.suffix not in (".html", ".htm"):
        raise InputError(
            "wrong-suffix",
            "the report '{output}' must be named {suffix}, the format that is written.",
            output=target,
            suffix=".html",
        )
    if os.path.isdir(target):
        raise FileExistsError(f"the report '{target}' is a folder; give the name of a file.")
    if not os.path.isdir(target.parent):
        raise FileNotFoundError(
            f"there is no folder '{target.parent}' to write into; make it first."
        )
    if os.path.exists(target) and not is_report(target):
        raise FileExistsError(
            f"'{target}' exists and is not a report of bgformer; give another name."
        )
    return target


def is_report(path: Path) -> bool:
    """Tell whether a file is a report."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return GENERATOR in file.read(2000)
    except OSError:
        return False
