"""Curves: number and stability of clusters by resolution, and the loss by training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from bgformer import tl
from bgformer.graph.stability import RESOLUTIONS
from bgformer.messages import InputError
from bgformer.model import BGFormer
from bgformer.pl.figure import check_output, finish, panels

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
    """Draw the number of clusters and their stability against the resolution.

    The dotted line is the resolution of the stored clusters, if they have one. A flat part of the
    first curve does not show that its number of clusters is right: clusters of several types can
    be as stable as those of one. :func:`bgformer.pl.evidence` shows what separates the clusters.

    Parameters
    ----------
    adata
        Cells with the results of :func:`bgformer.tl.cluster`; not changed.
    resolutions
        Resolutions to try; see :func:`bgformer.tl.resolutions`, which computes the values.
    n_fits
        Number of models to retrain. If above 0, a second line shows how well their clusters agree
        with the stored model.
    key_added
        Name under which the results are stored.
    show
        Show the figure. None shows it unless `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if the figure is shown, otherwise the two Axes.

    Raises
    ------
    CountsError, ValueError
        If `adata` has no results named `key_added`, a resolution is not above 0, or the counts for
        retraining cannot be used.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    check_output(None, show, save)
    table = tl.resolutions(adata, resolutions, n_fits=n_fits, key_added=key_added)
    current = tl.results(adata, key_added)["resolution"]
    axes = panels(2, height=3.0)
    for axis, name in zip(axes, ("n_clusters", "stability"), strict=True):
        axis.plot(table["resolution"], table[name], marker="o", markersize=4)
        axis.axvline(current, color="0.4", linestyle=":")
        axis.set(xlabel="resolution", title={"n_clusters": "clusters"}.get(name, name))
        axis.spines[["top", "right"]].set_visible(False)
    for resolution_, number in zip(table["resolution"], table["n_clusters"], strict=True):
        axes[0].annotate(
            str(number),
            (resolution_, number),
            textcoords="offset points",
            xytext=(0, 5),
            ha="center",
            fontsize=8,
        )
    axes[0].margins(y=0.15)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    if "retrained" in table:
        axes[1].plot(table["resolution"], table["retrained"], marker="o", markersize=4)
        lines = axes[1].lines[0], axes[1].lines[-1]
        axes[1].legend(lines, ["resampled cells", "retrained models"], fontsize=8)
    axes[1].set_ylim(min(0.5, table.iloc[:, 2:].to_numpy().min()), 1.02)
    return None if finish(axes[0], ax=None, show=show, save=save) else axes


def training(
    source: AnnData | BGFormer,
    *,
    key_added: str = "bgformer",
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes] | None:
    """Draw the loss and its unweighted terms against the training step.

    The faint line shows each step. The solid line is smoothed over a twentieth of the steps.

    Parameters
    ----------
    source
        Cells with the results of :func:`bgformer.tl.cluster`, or a fitted model.
    key_added
        Name under which the results are stored; not used with a model.
    show
        Show the figure. None shows it unless `save` is given or the backend has no window.
    save
        File to write the figure to.

    Returns
    -------
    None if the figure is shown, otherwise the Axes: one for the loss and one for each term.

    Raises
    ------
    ValueError
        If there are no results named `key_added`, or the model is not fitted.
    FileNotFoundError
        If the folder of `save` does not exist.
    """
    check_output(None, show, save)
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
        for smoothed in ("median", "mean"):  # the median removes outliers, the mean smooths
            rolling = smooth.rolling(window, center=True, min_periods=1)
            smooth = getattr(rolling, smoothed)()
        smooth[values.isna()] = np.nan  # do not extend a term to steps that lack it
        axis.plot(steps, values, color="C0", alpha=0.25, linewidth=0.8)
        axis.plot(steps, smooth, color="C0", linewidth=1.6)
        axis.set(title=_title(name), xlabel="step", xlim=(0, steps[-1] + 1))
        # The first steps can be far higher than the rest and would flatten the curve.
        seen = values.dropna().to_numpy()
        if len(seen):
            low, high = seen.min(), np.quantile(seen[len(seen) // 20 :], 0.999)
            axis.set_ylim(low - 0.05 * (high - low + 1e-9), high + 0.1 * (high - low + 1e-9))
        axis.spines[["top", "right"]].set_visible(False)
    return None if finish(axes[0], ax=None, show=show, save=save) else axes


def _title(term: str) -> str:
    """Return the display name of a loss term."""
    return term.upper() if term in ("zinb", "dec") else term.replace("_", "-")
