"""The dot plot of marker genes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bgformer.arguments import text_or_none
from bgformer.messages import InputError
from bgformer.pl.expression import expression_of
from bgformer.pl.figure import check_output, finish, fit_page, names_in
from bgformer.store.origin import origin
from bgformer.tl import results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData
    from matplotlib.axes import Axes


def markers(
    adata: AnnData,
    markers: str | Sequence[str] | Mapping[str, str | Sequence[str]],
    *,
    key_added: str = "bgformer",
    layer: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
    **kwargs: Any,
) -> Axes | None:
    """Draw a dot plot of marker genes in each cluster.

    The colour of a dot is the gene's mean log(1 + counts) in the cluster, with the counts of each
    cell scaled to those of the median cell. Its size is the share of cells that express the gene.
    Clusters without cells are left out. The values are computed from the counts for this plot;
    `adata` is not changed.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`.
    markers
        Genes in the order to draw them, or named groups of genes, e.g.
        ``{"B": ["MS4A1", "CD79A"], "NK": ["GNLY", "NKG7"]}``. Genes that are not in `adata` are
        left out with a warning.
    key_added
        Name under which the results are stored, or the column of subclusters that
        :func:`bgformer.tl.subcluster` made from them.
    layer
        Layer that holds the counts; None for the one that the clustering used.
    ax
        Axes to replace with the plot.
    show
        Show the figure. None shows it unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to, e.g. "markers.png" or "markers.pdf".
    **kwargs
        Passed to :func:`scanpy.pl.dotplot`, e.g. ``standard_scale="var"`` or ``swap_axes=True``.

    Returns
    -------
    None if the figure is shown, otherwise the Axes with the dots.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no results named `key_added`, no counts, or none of the genes.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    import scanpy as sc

    stored = results(adata, origin(adata, key_added))
    check_output(ax, show, save)
    layer = text_or_none("layer", layer)
    known, genes = _known_markers(adata, markers)
    expression = expression_of(adata, genes, layer or stored["params"].get("layer"))
    # Always categorical, because scanpy would bin numbers into intervals.
    clusters = pd.Categorical(adata.obs[key_added])
    expression.obs[key_added] = clusters.remove_unused_categories()
    drawn = sc.pl.dotplot(expression, known, key_added, ax=ax, show=False, **kwargs)
    axis: Axes = drawn["mainplot_ax"]
    axis.set(**{"xlabel" if kwargs.get("swap_axes") else "ylabel": key_added})
    if ax is None:
        fit_page(axis.figure.figure)
    return None if finish(axis, ax=ax, show=show, save=save) else axis


def _known_markers(
    adata: AnnData, markers: str | Sequence[str] | Mapping[str, str | Sequence[str]]
) -> tuple[list[str] | dict[str, list[str]], list[str]]:
    """Return the markers that are genes of `adata`, in the caller's form and as a unique list.

    Warn about those that are not.
    """
    groups = markers if isinstance(markers, Mapping) else {"": markers}
    groups = {k: names_in("markers", names) for k, names in groups.items()}
    named = list(dict.fromkeys(name for names in groups.values() for name in names))
    if not named:
        raise InputError(
            "no-markers",
            "{name[markers]} names no gene; give a list of genes, or a dict of such lists.",
        )
    genes = [name for name in named if name in adata.var_names]
    if not genes:
        raise InputError(
            "unknown-markers",
            "none of the {n_named} markers (the first: '{first}') is among the genes of adata "
            "(the first: '{gene}'); give names as in adata.var_names.",
            n_named=len(named),
            first=named[0],
            gene=adata.var_names[0],
        )
    if len(genes) < len(named):
        absent = [name for name in named if name not in adata.var_names]
        warnings.warn(
            f"{len(absent)} of {len(named)} markers are not genes of adata and are left out: "
            f"{', '.join(absent)}.",
            stacklevel=3,
        )
    known = {k: [name for name in names if name in genes] for k, names in groups.items()}
    known = {k: names for k, names in known.items() if names}
    return (known if isinstance(markers, Mapping) else known[""]), genes
