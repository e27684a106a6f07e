"""Plots of the results that `bgformer.tl` stored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from bgformer import tl
from bgformer.data import checks
from bgformer.data.counts import log_normalised, with_size_factors
from bgformer.graph.anchor_graph import ISLAND, ONE_TYPE
from bgformer.graph.stability import RESOLUTIONS
from bgformer.model import BGFormer
from bgformer.tl import results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

_COLUMNS = 3
"""Panels side by side."""
_FIT_LENGTH, _FIT_NUMBER = 4, 30
"""So many names, each up to so long, as numbers of clusters are, fit onto the cells."""
_MOST_LABELS = 102
"""Above this many categories scanpy has no more colours, and a legend cannot be read."""


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
    """Draw a UMAP of the latent, coloured by cluster or by anything else known of the cells.

    The UMAP is computed at the first call, with the seed of the results, and kept in
    ``adata.obsm["X_" + key_added + "_umap"]``; ``adata.obsm["X_umap"]`` is not touched.

    Parameters
    ----------
    adata
        With the results of :func:`bgformer.tl.cluster`.
    color
        Columns of ``adata.obs`` or genes, one panel each; None for the clusters. "confidence" is
        short for the confidence of these results, drawn from 0 to 1. A gene is drawn as log(1 +
        counts), each cell's counts scaled to those of the median cell, unless ``layer`` or
        ``use_raw`` asks for other values, or the counts are no longer in `adata`.
    key_added
        Name of the results.
    ax
        Axes to draw into, for one panel.
    show
        Show the figure; None does unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to, e.g. "umap.png" or "umap.pdf".
    **kwargs
        Passed to :func:`scanpy.pl.embedding`, e.g. ``size``, ``palette``, ``legend_loc``.

    Returns
    -------
    None if shown, else the Axes, a list of them for several panels.

    Raises
    ------
    ValueError
        If `adata` has no such results, or neither a column nor a gene of that name.
    FileNotFoundError
        If there is no folder to write `save` into.
    """
    import scanpy as sc

    results(adata, key_added)
    _check_folder(save)
    if isinstance(color, str) or color is None:
        color = [color or key_added]
    confidence = f"{key_added}_confidence"
    names = [
        confidence if name == "confidence" and name not in adata.obs else name for name in color
    ]
    _check_colours(adata, names, key_added)
    if ax is not None and len(names) > 1:
        raise ValueError(f"ax holds one panel, but color names {len(names)}; leave ax out.")
    _ensure_umap(adata, key_added)
    styles = [_legend_style(adata, name) for name in names]
    beside = [_legend_width(adata, name, style) for name, style in zip(names, styles, strict=True)]
    axes = [ax] if ax is not None else _panels(len(names), beside=beside)
    ours = not {"layer", "use_raw"} & set(kwargs)
    genes = [name for name in names if ours and name not in adata.obs and name in adata.var_names]
    expressed = _with_expression(adata, list(dict.fromkeys(genes)), key_added)
    size = float(np.clip(60_000 / adata.n_obs, 4, 60))
    for name, style, axis in zip(names, styles, axes, strict=True):
        style = {"frameon": False, "size": size} | style
        if name == confidence:
            style |= {"vmin": 0, "vmax": 1, "color_map": "viridis_r"}  # dark where it is sure
        style |= kwargs
        sc.pl.embedding(
            expressed if name in genes else adata,
            basis=f"X_{key_added}_umap",
            color=name,
            ax=axis,
            show=False,
            **style,
        )
        axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
        if name == confidence and "title" not in kwargs:
            axis.set_title("confidence")
    return _finish(axes, ax=ax, show=show, save=save)


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

    The colour of a dot is the gene's mean in the cluster, of log(1 + counts), each cell's counts
    scaled to those of the median cell; its size is the share of the cluster's cells with the gene.
    The values are made from the counts for this plot: `adata` is not changed.

    Parameters
    ----------
    adata
        With the results of :func:`bgformer.tl.cluster`.
    markers
        Genes in the order to draw them, or groups of them by name, e.g.
        ``{"B": ["MS4A1", "CD79A"], "NK": ["GNLY", "NKG7"]}``. Genes that `adata` lacks are left
        out with a warning.
    key_added
        Name of the results.
    layer
        Layer that holds the counts; None for where the clustering read them.
    ax
        Axes whose place the plot takes.
    show
        Show the figure; None does unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to, e.g. "markers.png" or "markers.pdf".
    **kwargs
        Passed to :func:`scanpy.pl.dotplot`, e.g. ``standard_scale="var"`` or ``swap_axes=True``.

    Returns
    -------
    None if shown, else the Axes with the dots.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no such results, no counts or none of the genes.
    FileNotFoundError
        If there is no folder to write `save` into.
    """
    import scanpy as sc

    stored = results(adata, key_added)
    _check_folder(save)
    known, genes = _known_markers(adata, markers)
    expression = _expression(adata, genes, layer or stored["params"].get("layer"))
    # Categorical whatever the column has become: scanpy would cut numbers into intervals.
    expression.obs[key_added] = pd.Categorical(adata.obs[key_added])
    axis = sc.pl.dotplot(expression, known, key_added, ax=ax, show=False, **kwargs)["mainplot_ax"]
    axis.set(**{"xlabel" if kwargs.get("swap_axes") else "ylabel": key_added})
    return _finish([axis], ax=ax, show=show, save=save)


def resolution(
    adata: AnnData,
    resolutions: Sequence[float] = RESOLUTIONS,
    *,
    n_fits: int = 0,
    key_added: str = "bgformer",
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes] | None:
    """Draw the number of clusters and their stability over the resolution.

    The dotted line is the resolution that the clusters in `adata` have, if they have one. A flat
    stretch of the first curve with high values in the second is a number of clusters that the data
    hold on to.

    Parameters
    ----------
    adata
        With the results of :func:`bgformer.tl.cluster`.
    resolutions
        Resolutions to try; see :func:`bgformer.tl.resolutions` for their numbers.
    n_fits
        Models to train anew; a second line then shows how far their clusters agree.
    key_added
        Name of the results.
    show
        Show the figure; None does unless `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if shown, else the two Axes.

    Raises
    ------
    ValueError
        If `adata` has no such results, or a resolution is not above 0.
    FileNotFoundError
        If there is no folder to write `save` into.
    """
    _check_folder(save)
    table = tl.resolutions(adata, resolutions, n_fits=n_fits, key_added=key_added)
    current = results(adata, key_added)["resolution"]
    axes = _panels(2, height=3.0)
    for axis, name in zip(axes, ("n_clusters", "stability"), strict=True):
        axis.plot(table["resolution"], table[name], marker="o", markersize=4)
        axis.axvline(current, color="0.4", linestyle=":")
        axis.set(xlabel="resolution", title={"n_clusters": "clusters"}.get(name, name))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(0, None)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    if "retrained" in table:
        axes[1].plot(table["resolution"], table["retrained"], marker="o", markersize=4)
        lines = axes[1].lines[0], axes[1].lines[-1]
        axes[1].legend(lines, ["cells drawn anew", "models trained anew"], fontsize=8)
    axes[1].set_ylim(min(0.5, table.iloc[:, 2:].to_numpy().min()), 1.02)
    return _finish(axes, ax=None, show=show, save=save)


def evidence(
    adata: AnnData,
    *,
    key_added: str = "bgformer",
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | None:
    """Draw what sets each cluster apart from the one nearest to it.

    Each cluster is a circle whose area grows with its cells. Two clusters that are nearest to each
    other are in one place; of any other the nearest follows in brackets. To the left of the dashed
    line the two are apart, with hardly a cell between them. To the right of the dotted one, they
    are split only because a resolution or a number of clusters asked for it. The darker a circle,
    the deeper the gap between the two in held-out counts.

    Parameters
    ----------
    adata
        With the results of :func:`bgformer.tl.cluster`.
    key_added
        Name of the results.
    ax
        Axes to draw into.
    show
        Show the figure; None does unless `ax` or `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if shown, else the Axes.

    Raises
    ------
    ValueError
        If `adata` has no such results.
    FileNotFoundError
        If there is no folder to write `save` into.
    """
    _check_folder(save)
    table = results(adata, key_added)["evidence"]
    axis = _panels(1)[0] if ax is None else ax
    axis.axvline(ISLAND, color="0.6", linestyle="--", linewidth=1)
    axis.axvline(ONE_TYPE, color="0.6", linestyle=":", linewidth=1)
    area = 30 + 600 * table["n_cells"] / max(table["n_cells"].sum(), 1)
    points = axis.scatter(
        table["links"],
        table["n_markers"],
        s=area,
        c=table["gap"],
        cmap="viridis_r",
        vmin=0,
        vmax=1,
    )
    points.set(alpha=0.7, edgecolor="none")
    axis.figure.colorbar(points, ax=axis, label="depth of the gap", shrink=0.6)
    nearest = dict(zip(table["cluster"], table["nearest"], strict=True))
    for one, x, y in zip(table["cluster"], table["links"], table["n_markers"], strict=True):
        mutual = nearest[nearest[one]] == one  # two clusters are then in one place
        side = "right" if mutual and int(one) < int(nearest[one]) else "left"
        text = f" {one} " if mutual else f" {one} ({nearest[one]})"
        axis.annotate(text, (x, y), fontsize=8, ha=side, va="center")
    axis.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axis.set_ylim(0, None)
    axis.set_xlim(0, None)
    axis.set(
        xlabel="share of links to the nearest cluster",
        ylabel="marker genes against it",
    )
    axis.spines[["top", "right"]].set_visible(False)
    return _finish([axis], ax=ax, show=show, save=save)


def training(
    source: AnnData | BGFormer,
    *,
    key_added: str = "bgformer",
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes] | None:
    """Draw the loss and its terms over the training steps.

    The line is smoothed (over a twentieth of the steps), the faint one behind it is what each step
    had.

    Parameters
    ----------
    source
        Cells with the results of :func:`bgformer.tl.cluster`, or a fitted model.
    key_added
        Name of the results.
    show
        Show the figure; None does unless `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if shown, else the Axes, one for the loss and one for each term.

    Raises
    ------
    ValueError
        If there are no such results, or the model is not fitted.
    FileNotFoundError
        If there is no folder to write `save` into.
    """
    _check_folder(save)
    if isinstance(source, BGFormer):
        if not hasattr(source, "history_"):
            raise ValueError("this model is not fitted yet; call fit(adata) first.")
        history = source.history_
    else:
        history = results(source, key_added)["history"]
    steps = np.asarray(history["step"])
    terms = ["loss", *(name for name in history if name not in ("step", "loss"))]
    axes = _panels(len(terms), height=2.6)
    window = max(1, len(steps) // 20)
    for name, axis in zip(terms, axes, strict=True):
        values = pd.Series(np.asarray(history[name], dtype=float))
        smooth = values
        for smoothed in ("median", "mean"):  # outliers go first, then the corners
            rolling = smooth.rolling(window, center=True, min_periods=1)
            smooth = getattr(rolling, smoothed)()
        smooth[values.isna()] = np.nan  # a term begins where it begins
        axis.plot(steps, values, color="C0", alpha=0.25, linewidth=0.8)
        axis.plot(steps, smooth, color="C0", linewidth=1.6)
        axis.set(title=_title(name), xlabel="step", xlim=(0, steps[-1] + 1))
        # The first steps can be far above all that follows, and would flatten it.
        seen = values.dropna().to_numpy()
        if len(seen):
            low, high = seen.min(), np.quantile(seen[len(seen) // 20 :], 0.999)
            axis.set_ylim(low - 0.05 * (high - low + 1e-9), high + 0.1 * (high - low + 1e-9))
        axis.spines[["top", "right"]].set_visible(False)
    return _finish(axes, ax=None, show=show, save=save)


def _known_markers(
    adata: AnnData, markers: str | Sequence[str] | Mapping[str, str | Sequence[str]]
) -> tuple[list[str] | dict[str, list[str]], list[str]]:
    """Return the markers that are genes of `adata`, in the caller's form, and each of them once.

    Warns of those that are not.
    """
    groups = markers if isinstance(markers, Mapping) else {"": markers}
    groups = {k: [names] if isinstance(names, str) else list(names) for k, names in groups.items()}
    named = list(dict.fromkeys(name for names in groups.values() for name in names))
    if not named:
        raise ValueError("markers names no gene; give a list of genes, or a dict of such lists.")
    genes = [name for name in named if name in adata.var_names]
    if not genes:
        raise ValueError(
            f"none of the {len(named)} markers (the first: '{named[0]}') is among the genes of "
            f"adata (the first: '{adata.var_names[0]}'); give names as in adata.var_names."
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


def _expression(adata: AnnData, genes: list[str], layer: str | None) -> AnnData:
    """Return the log-normalised values of some genes in an AnnData of their own."""
    import anndata as ad

    counts = checks.read_counts(adata, layer, min_cells=1)
    batch = np.zeros(adata.n_obs, dtype=np.int64)  # of no matter here
    values = log_normalised(with_size_factors(counts, batch))
    return ad.AnnData(
        values[:, adata.var_names.get_indexer(genes)],
        obs=pd.DataFrame(index=adata.obs_names),
        var=pd.DataFrame(index=pd.Index(genes)),
    )


def _with_expression(adata: AnnData, genes: list[str], key: str) -> AnnData:
    """Return the UMAP with genes' log-normalised values; `adata` where counts are gone."""
    if not genes:
        return adata
    try:
        shown = _expression(adata, genes, adata.uns[key]["params"].get("layer"))
    except checks.CountsError:
        return adata
    shown.obsm[f"X_{key}_umap"] = adata.obsm[f"X_{key}_umap"]
    return shown


def _title(term: str) -> str:
    """Return the name of a term of the objective as a reader writes it."""
    return term.upper() if term in ("zinb", "dec") else term.replace("_", "-")


def _check_colours(adata: AnnData, names: list[str], key: str) -> None:
    """Raise ValueError for a name that neither cells nor genes have."""
    genes = adata.var_names if adata.raw is None else adata.raw.var_names.union(adata.var_names)
    for name in names:
        if name not in adata.obs and name not in genes:
            raise ValueError(
                f"'{name}' is neither a column of adata.obs nor a gene; leave color out to draw "
                f"the clusters '{key}'."
            )


def _ensure_umap(adata: AnnData, key: str) -> None:
    """Compute the UMAP of the latent unless it is there."""
    import anndata as ad
    import scanpy as sc

    place = f"X_{key}_umap"
    if place in adata.obsm:
        return
    # In an AnnData of its own, so that neighbours, UMAP and their settings in `adata` stay what
    # the caller made them.
    cells = ad.AnnData(np.asarray(adata.obsm[f"X_{key}"]))
    seed = int(adata.uns[key]["seed"])
    sc.pp.neighbors(cells, n_neighbors=min(15, cells.n_obs - 1), use_rep="X", random_state=seed)
    sc.tl.umap(cells, random_state=seed)
    adata.obsm[place] = cells.obsm["X_umap"].astype(np.float32)


def _panels(n: int, height: float = 4.2, beside: Sequence[float] = ()) -> list[Axes]:
    """Return n axes in rows of a few; `beside` are the inches that each legend takes."""
    columns = min(n, _COLUMNS)
    rows = math.ceil(n / columns)
    legends = sum(max(beside[column::columns], default=0) for column in range(columns))
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * height * 1.2 + legends, rows * height),
        squeeze=False,
        layout="constrained",
    )
    for unused in axes.flat[n:]:
        unused.remove()
    return list(axes.flat[:n])


def _legend_style(adata: AnnData, name: str) -> dict[str, Any]:
    """Return where the names of the categories go: onto the cells if short, else beside."""
    if name not in adata.obs or not isinstance(adata.obs[name].dtype, pd.CategoricalDtype):
        return {}
    categories = adata.obs[name].cat.categories.astype(str)
    if categories.str.len().max() <= _FIT_LENGTH and len(categories) <= _FIT_NUMBER:
        return {"legend_loc": "on data", "legend_fontsize": 10, "legend_fontoutline": 2}
    if len(categories) > _MOST_LABELS:
        return {"legend_loc": None}
    return {"legend_loc": "right margin", "legend_fontsize": 9 if len(categories) <= 14 else 7}


def _legend_width(adata: AnnData, name: str, style: dict[str, Any]) -> float:
    """Return the inches that the names beside a panel take (scanpy sets them in columns)."""
    if style.get("legend_loc") != "right margin":
        return 0.0
    categories = adata.obs[name].cat.categories.astype(str)
    columns = 1 if len(categories) <= 14 else 2 if len(categories) <= 30 else 3
    return columns * (0.35 + categories.str.len().max() * style["legend_fontsize"] * 0.6 / 72)


def _check_folder(save: str | Path | None) -> None:
    """Raise FileNotFoundError, before anything is computed, if `save` is in no folder."""
    if save is not None and not (folder := Path(save).resolve().parent).is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}' to write into; make it first.")


def _finish(
    axes: list[Axes], *, ax: Axes | None, show: bool | None, save: str | Path | None
) -> Axes | list[Axes] | None:
    """Write and show the figure as asked, and return its axes if it was not shown."""
    if save is not None:
        axes[0].figure.savefig(save, dpi=150, bbox_inches="tight")
    if show is None:
        has_window = mpl.get_backend().lower() not in ("agg", "pdf", "ps", "svg", "cairo")
        show = has_window and ax is None and save is None
    if show:
        plt.show()
        return None
    return axes[0] if len(axes) == 1 else axes
