"""The UMAP of the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.colors import FuncNorm

from bgformer.arguments import wrong
from bgformer.data.matrices import CountsError
from bgformer.messages import InputError
from bgformer.pl.colours import colours_of
from bgformer.pl.expression import expression_of
from bgformer.pl.figure import check_output, finish, names_in, panels
from bgformer.pl.labels import name_groups
from bgformer.pl.legends import MOST_NAMES, counted, legend_width, write_legend
from bgformer.store.looks import colours_name
from bgformer.store.origin import origin
from bgformer.store.results import confidence_name, umap_name
from bgformer.tl import results, umap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData
    from matplotlib.axes import Axes

_RARE = 0.03
"""Groups with a smaller share of the cells are drawn last and outlined, so that they are seen."""
_AS_SCANPY = {
    "add_outline", "arrows", "components", "dimensions", "edges", "groups", "marker", "mask_obs",
    "projection", "scale_factor",
}  # fmt: skip
"""Options of scanpy's with which the cells are left to it: neither put in order nor outlined."""


def embedding(
    adata: AnnData,
    *,
    color: str | Sequence[str] | None = None,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
    **kwargs: Any,
) -> Axes | list[Axes] | None:
    """Draw a UMAP of the latent space, coloured by clusters, other columns or genes.

    The UMAP is in ``adata.obsm["X_" + key_added + "_umap"]``. If it is not there,
    :func:`bgformer.tl.umap` computes and stores it, where :func:`scanpy.pl.umap` finds it, too.

    Groups of cells have their name on their cells, or beside them, and the legend counts their
    cells. Rare groups, less than 3 % of the cells, are drawn last and with an outline. Columns
    without stored colours get those of the clusters that they share most cells with.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`.
    color
        Columns of ``adata.obs`` or genes, one panel each; None for the clusters. "confidence"
        stands for the confidence of these results, drawn from 0 to 1, with half of the colours
        for values above 0.8. Genes are drawn as log(1 + counts), with the counts of each cell
        scaled to those of the median cell. This is not done if `layer` or `use_raw` is given, or
        if `adata` no longer has the counts.
    key_added
        Name under which the results are stored, or the column of subclusters that
        :func:`bgformer.tl.subcluster` made from them.
    ax
        Axes to draw into; only for a single panel.
    show
        Show the figure. None shows it unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to, e.g. "umap.png" or "umap.pdf".
    **kwargs
        Passed to :func:`scanpy.pl.embedding`, e.g. `size` or `palette`. With an option of scanpy's
        legend, such as `legend_loc`, names and legend are scanpy's.

    Returns
    -------
    None if the figure is shown, otherwise the Axes, or a list of Axes for several panels.

    Raises
    ------
    ValueError
        If `adata` has no results named `key_added`, if `color` names neither a column nor a gene,
        or if `ax` is given for several panels.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    key = origin(adata, key_added)
    results(adata, key)
    check_output(ax, show, save)
    colours = names_in("color", key_added if color is None else color)
    if not colours:
        raise wrong("color", color, "a name or a list of names")
    confidence = confidence_name(key_added)
    names = [
        confidence if name == "confidence" and name not in adata.obs else name for name in colours
    ]
    _check_colours(adata, names, key_added)
    if ax is not None and len(names) > 1:
        raise InputError(
            "too-many-panels",
            "{name[ax]} holds one panel, but {name[color]} names {n_names}; leave {name[ax]} out.",
            n_names=len(names),
        )
    if umap_name(key) not in adata.obsm:
        umap(adata, key_added=key)
    ours = [name for name in names if _is_of_groups(adata, name) and not _has_legend(kwargs)]
    said = {name: counted(adata.obs[name]) for name in ours}
    beside = [legend_width(said.get(name, ())) for name in names]
    axes = [ax] if ax is not None else panels(len(names), beside=beside)
    expressed = _with_expression(adata, _genes(adata, names, kwargs), key)
    for name, axis in zip(names, axes, strict=True):
        style = _colour_style(name == confidence, kwargs)
        shown = expressed if name in expressed.var_names and name not in adata.obs else adata
        if name in said:
            _draw_groups(adata, name, key, axis, kwargs)
            write_legend(axis, said[name], adata.uns[colours_name(name)])
        else:
            _scatter(shown, name, key, axis, style | kwargs)
        if name == confidence and "title" not in kwargs:
            axis.set_title("confidence")
    if finish(axes[0], ax=ax, show=show, save=save):
        return None
    return axes[0] if len(axes) == 1 else axes


def _is_of_groups(adata: AnnData, name: str) -> bool:
    """Tell whether a column holds groups of cells."""
    return name in adata.obs and isinstance(adata.obs[name].dtype, pd.CategoricalDtype)


def _has_legend(given: dict[str, Any]) -> bool:
    """Tell whether the user asks for scanpy's own legend."""
    return any(name.startswith("legend_") or name == "groups" for name in given)


def _genes(adata: AnnData, names: list[str], given: dict[str, Any]) -> list[str]:
    """Return the names that are genes to be log-normalised, each once."""
    if {"layer", "use_raw"} & set(given):
        return []
    genes = [name for name in names if name not in adata.obs and name in adata.var_names]
    return list(dict.fromkeys(genes))


def _scatter(adata: AnnData, name: str, key: str, axis: Axes, style: dict[str, Any]) -> None:
    """Draw the cells as scanpy does."""
    import scanpy as sc

    size = float(np.clip(60_000 / adata.n_obs, 4, 60))
    style = {"frameon": False, "size": size} | style
    sc.pl.embedding(adata, basis=umap_name(key), color=name, ax=axis, show=False, **style)
    axis.set(xlabel="UMAP 1", ylabel="UMAP 2")


def _draw_groups(adata: AnnData, name: str, key: str, axis: Axes, given: dict[str, Any]) -> None:
    """Draw groups of cells, the rare ones last and outlined, and write their names."""
    groups = adata.obs[name]
    if "palette" not in given:
        adata.uns[colours_name(name)] = np.array(colours_of(adata, name, key), dtype=object)
    rare = _rare(groups)
    shown = adata
    if not (_AS_SCANPY & set(given) or np.ndim(given.get("size", 0))):
        shown = _in_order(adata, name, key, rare)
    _scatter(shown, name, key, axis, {"legend_loc": None} | given)
    adata.uns[colours_name(name)] = shown.uns[colours_name(name)]
    if shown is not adata and rare.any():
        _outline(axis, int(rare.sum()))
    if 1 < len(groups.cat.categories) <= MOST_NAMES and "projection" not in given:
        name_groups(axis, groups, np.asarray(adata.obsm[umap_name(key)]))


def _rare(groups: pd.Series) -> np.ndarray:
    """Return which cells are of groups with less than 3 % of the cells, (n,)."""
    sizes = groups.map(groups.value_counts()).astype(float).to_numpy()
    return np.asarray(sizes < _RARE * len(sizes))


def _in_order(adata: AnnData, name: str, key: str, rare: np.ndarray) -> AnnData:
    """Return a column of the cells and their UMAP, with the cells of rare groups last."""
    import anndata as ad

    mixed = np.arange(adata.n_obs) * 0.6180339887 % 1  # whatever the order of the cells
    order = np.lexsort((mixed, rare))
    shown = ad.AnnData(
        obs=adata.obs[[name]].iloc[order].set_axis(np.arange(adata.n_obs).astype(str)),
        obsm={umap_name(key): np.asarray(adata.obsm[umap_name(key)])[order]},
    )
    if colours_name(name) in adata.uns:
        shown.uns[colours_name(name)] = adata.uns[colours_name(name)]
    return shown


def _outline(axis: Axes, n: int) -> None:
    """Draw the last n cells of a panel again, with an outline around them."""
    cells = axis.collections[0]
    assert isinstance(cells, PathCollection)
    at = np.asarray(cells.get_offsets())[-n:]
    colours = np.asarray(cells.get_facecolor())[-n:]
    size = float(cells.get_sizes()[0])
    for area, colour in (((np.sqrt(size) + 2) ** 2, "0.15"), (size, colours)):
        axis.scatter(at[:, 0], at[:, 1], s=area, c=colour, marker=".", linewidths=0)


def _colour_style(is_confidence: bool, given: dict[str, Any]) -> dict[str, Any]:
    """Return scanpy's options for numbers, with those that the user gave left out."""
    style: dict[str, Any] = {}
    if not {"cmap", "color_map"} & set(given):
        style["color_map"] = "viridis_r"  # dark: high, as in a print in grey
    if is_confidence and not {"norm", "vmin", "vmax", "vcenter"} & set(given):
        # half of the colours are for values above .8, where most cells are
        style["norm"] = FuncNorm((_spread, _gathered), vmin=0, vmax=1)
    return style


def _spread(confidence: np.ndarray) -> np.ndarray:
    """Map values up to 0.8, and those above, to one half of 0 to 1 each."""
    return np.interp(confidence, [0, 0.8, 1], [0, 0.5, 1])


def _gathered(place: np.ndarray) -> np.ndarray:
    """Undo `_spread`."""
    return np.interp(place, [0, 0.5, 1], [0, 0.8, 1])


def _check_colours(adata: AnnData, names: list[str], key: str) -> None:
    """Raise ValueError for a name that is neither a column of ``obs`` nor a gene."""
    genes = adata.var_names if adata.raw is None else adata.raw.var_names.union(adata.var_names)
    for name in names:
        if name not in adata.obs and name not in genes:
            raise InputError(
                "unknown-colour",
                "'{given}' is neither a column of {name[adata.obs]} nor a gene; leave "
                "{name[color]} out to draw the clusters '{key}'.",
                given=name,
                key=key,
            )


def _with_expression(adata: AnnData, genes: list[str], key: str) -> AnnData:
    """Return the UMAP with log-normalised genes, or `adata` if it no longer has the counts."""
    if not genes:
        return adata
    try:
        shown = expression_of(adata, genes, adata.uns[key]["params"].get("layer"))
    except CountsError:
        return adata
    shown.obsm[umap_name(key)] = adata.obsm[umap_name(key)]
    return shown
