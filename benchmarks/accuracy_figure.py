"""The figure of accuracy.py: ARI against the share of types found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from choice import left_out, without_batches
from methods import METHODS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

# colours of Okabe and Ito, which colour-blind readers can distinguish, each with a marker
STYLES = {
    "ours": ("#D55E00", "o"),
    "ours-k": ("#E69F00", "o"),
    "leiden": ("#0072B2", "s"),
    "leiden-k": ("#56B4E9", "s"),
    "seurat": ("#009E73", "D"),
    "secuer": ("#CC79A7", "^"),
    "parc": ("#000000", "v"),
    "pca": ("#F0E442", "P"),
    "published": ("#7F7F7F", "X"),
    "published-best": ("#BFBFBF", "X"),
}


def draw(scores: pd.DataFrame, path: Path) -> None:
    """Draw a dot for each method and set, and a large one for the mean of each method.

    Scores are means over seeds. For a method with several settings, each set uses the setting that
    is best on the other sets.
    """
    scores = without_batches(scores)
    scores = scores.assign(share=scores["types found"] / scores["types"])
    figure, axes = plt.subplots(figsize=(8.5, 5), layout="constrained")
    for key, (colour, marker) in STYLES.items():
        rows = scores[scores["method"] == key]
        chosen = left_out(rows) if len(rows) else rows
        if chosen["set"].nunique() < scores["set"].nunique():
            continue  # a mean over fewer sets is not comparable
        by_set = chosen.groupby("set")[["share", "ARI"]].mean()
        title = METHODS[key].title.replace(" (", "\n(")
        axes.scatter(
            *(by_set[c] for c in by_set), s=22, c=colour, marker=marker, alpha=0.6, lw=0, zorder=2
        )
        axes.scatter(
            *by_set.mean(),
            s=190,
            c=colour,
            marker=marker,
            edgecolors="black",
            linewidths=1.2,
            zorder=3,
            label=title,
        )
    axes.set_xlabel("share of types found (a cluster with F1 ≥ 0.7)")
    axes.set_ylabel("adjusted Rand index")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    n_sets = scores["set"].nunique()
    figure.legend(
        loc="outside right upper",
        frameon=False,
        title=f"large: mean of {n_sets} sets\nsmall: one set",
        alignment="left",
        labelspacing=1.0,
        fontsize=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
