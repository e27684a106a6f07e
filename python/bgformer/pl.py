"""Plots of the results that `bgformer.tl` stored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from bgformer.anchors import unit_rows
from bgformer.model import BGFormer
from bgformer.tl import results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
        short for the confidence of these results.
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
    """
    import scanpy as sc

    results(adata, key_added)
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
    size = float(np.clip(60_000 / adata.n_obs, 4, 60))
    for name, style, axis in zip(names, styles, axes, strict=True):
        style = {"frameon": False, "size": size} | style | kwargs
        sc.pl.embedding(
            adata, basis=f"X_{key_added}_umap", color=name, ax=axis, show=False, **style
        )
        axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
        if name == confidence and "title" not in kwargs:
            axis.set_title("confidence")
    return _finish(axes, ax=ax, show=show, save=save)


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
    """
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
    # By direction, as the clusters are found; in an AnnData of its own, so that neighbours, UMAP
    # and their settings in `adata` stay what the caller made them.
    cells = ad.AnnData(unit_rows(np.asarray(adata.obsm[f"X_{key}"])))
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
