"""The UMAP of the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import FuncNorm

from bgformer.arguments import wrong
from bgformer.data.matrices import CountsError
from bgformer.messages import InputError
from bgformer.pl.expression import expression_of
from bgformer.pl.figure import check_output, finish, names_in, panels
from bgformer.pl.legends import legend_style, legend_width, write_names
from bgformer.tl import results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

_RARE = 0.03
"""Clusters with a smaller share of the cells are drawn last, so that no others hide them."""


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

    The first call computes the UMAP with the seed of the results and stores it, n x 2 float32, in
    ``adata.obsm["X_" + key_added + "_umap"]``. ``adata.obsm["X_umap"]`` is not changed.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`.
    color
        Columns of ``adata.obs`` or genes, one panel each; None for the clusters. "confidence"
        stands for the confidence of these results, drawn from 0 to 1, with half of the colours
        for values above 0.8. Rare clusters are drawn last. Genes are drawn as log(1 +
        counts), with the counts of each cell scaled to those of the median cell. This is not done
        if `layer` or `use_raw` is given, or if `adata` no longer has the counts.
    key_added
        Name under which the results are stored.
    ax
        Axes to draw into; only for a single panel.
    show
        Show the figure. None shows it unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to, e.g. "umap.png" or "umap.pdf".
    **kwargs
        Passed to :func:`scanpy.pl.embedding`, e.g. `size`, `palette`, `legend_loc`.

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
    import scanpy as sc

    results(adata, key_added)
    check_output(ax, show, save)
    colours = names_in("color", key_added if color is None else color)
    if not colours:
        raise wrong("color", color, "a name or a list of names")
    confidence = f"{key_added}_confidence"
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
    ensure_umap(adata, key_added)
    styles = [legend_style(adata, name) for name in names]
    beside = [legend_width(adata, name, style) for name, style in zip(names, styles, strict=True)]
    axes = [ax] if ax is not None else panels(len(names), beside=beside)
    ours = not {"layer", "use_raw"} & set(kwargs)
    genes = [name for name in names if ours and name not in adata.obs and name in adata.var_names]
    expressed = _with_expression(adata, list(dict.fromkeys(genes)), key_added)
    size = float(np.clip(60_000 / adata.n_obs, 4, 60))
    with_clusters = adata[_rare_last(adata.obs[key_added])]
    for name, style, axis in zip(names, styles, axes, strict=True):
        style = {"frameon": False, "size": size} | style
        style |= _confidence_style(kwargs) if name == confidence else {}
        style |= kwargs
        on_cells = style.get("legend_loc") == "on data" and "legend_loc" not in kwargs
        if on_cells:
            style["legend_loc"] = None
        sc.pl.embedding(
            expressed if name in genes else with_clusters if name == key_added else adata,
            basis=f"X_{key_added}_umap",
            color=name,
            ax=axis,
            show=False,
            **style,
        )
        if on_cells:
            write_names(axis, adata.obs[name], np.asarray(adata.obsm[f"X_{key_added}_umap"]))
        axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
        if name == confidence and "title" not in kwargs:
            axis.set_title("confidence")
    if finish(axes[0], ax=ax, show=show, save=save):
        return None
    return axes[0] if len(axes) == 1 else axes


def _confidence_style(given: dict[str, Any]) -> dict[str, Any]:
    """Return scanpy's options for the confidence, with those that the user gave left out."""
    style: dict[str, Any] = {"color_map": "viridis_r"}  # dark: confident
    if not {"norm", "vmin", "vmax", "vcenter"} & set(given):
        # half of the colours are for values above .8, where most cells are
        style["norm"] = FuncNorm((_spread, _gathered), vmin=0, vmax=1)
    return style


def _spread(confidence: np.ndarray) -> np.ndarray:
    """Map values up to 0.8, and those above, to one half of 0 to 1 each."""
    return np.interp(confidence, [0, 0.8, 1], [0, 0.5, 1])


def _gathered(place: np.ndarray) -> np.ndarray:
    """Undo `_spread`."""
    return np.interp(place, [0, 0.5, 1], [0, 0.8, 1])


def _rare_last(clusters: pd.Series) -> np.ndarray:
    """Return an order of the cells in which those of rare clusters, less than 3 %, come last."""
    sizes = clusters.map(clusters.value_counts()).astype(float).to_numpy()
    rare = np.where(sizes < _RARE * len(sizes), sizes, np.inf)
    return np.argsort(-rare, kind="stable")


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


def ensure_umap(adata: AnnData, key: str) -> None:
    """Compute the UMAP of the latent unless it is stored already."""
    import anndata as ad
    import scanpy as sc

    place = f"X_{key}_umap"
    if place in adata.obsm:
        return
    # A separate AnnData leaves the caller's neighbours, UMAP and their settings unchanged.
    cells = ad.AnnData(np.asarray(adata.obsm[f"X_{key}"]))
    seed = int(adata.uns[key]["seed"])
    sc.pp.neighbors(cells, n_neighbors=min(15, cells.n_obs - 1), use_rep="X", random_state=seed)
    sc.tl.umap(cells, random_state=seed)
    adata.obsm[place] = cells.obsm["X_umap"].astype(np.float32)


def _with_expression(adata: AnnData, genes: list[str], key: str) -> AnnData:
    """Return the UMAP with log-normalised genes, or `adata` if it no longer has the counts."""
    if not genes:
        return adata
    try:
        shown = expression_of(adata, genes, adata.uns[key]["params"].get("layer"))
    except CountsError:
        return adata
    shown.obsm[f"X_{key}_umap"] = adata.obsm[f"X_{key}_umap"]
    return shown
