"""Curves: clusters over the resolution, and the loss over the training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from bgformer import tl
from bgformer.graph.stability import RESOLUTIONS
from bgformer.messages import InputError
from bgformer.model import BGFormer
from bgformer.pl.figure import check_folder, finish, panels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData
    from matplotlib.axes import Axes


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
    check_folder(save)
    table = tl.resolutions(adata, resolutions, n_fits=n_fits, key_added=key_added)
    current = tl.results(adata, key_added)["resolution"]
    axes = panels(2, height=3.0)
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
    return None if finish(axes[0], ax=None, show=show, save=save) else axes


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
    check_folder(save)
    if isinstance(source, BGFormer):
        if not hasattr(source, "history_"):
            raise InputError("not-fitted", "this model is not fitted yet; call fit(adata) first.")
        history = source.history_
    else:
        history = tl.results(source, key_added)["history"]
    steps = np.asarray(history["step"])
    terms = ["loss", *(name for name in history if name not in ("step", "loss"))]
    axes = panels(len(terms), height=2.6)
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
    return None if finish(axes[0], ax=None, show=show, save=save) else axes


def _title(term: str) -> str:
    """Return the name of a term of the objective as a reader writes it."""
    return term.upper() if term in ("zinb", "dec") else term.replace("_", "-")
