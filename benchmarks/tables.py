"""The tables of accuracy.py as markdown: means over seeds and sets from one row per run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from choice import at_default, choices, left_out, without_batches
from labelled import LABELS_FROM_CLUSTERS
from methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANS = {"ARI": 3, "NMI": 3, "types found": 1, "rare found": 1, "recall": 3}
"""Columns of the tables of means, with their number of digits."""
SUMMED = ("types found", "rare found")
"""Columns that are summed over sets; the others are averaged."""
LAST = {"clusters": 1, "seconds": 1, "ECE": 3}


def all_tables(scores: pd.DataFrame) -> dict[str, str]:
    """Return all tables, by the name of their marker in docs/benchmarks.md."""
    means = without_batches(scores)
    kept = means[~means["set"].isin(LABELS_FROM_CLUSTERS)]
    return {
        "accuracy": f"{head(scores)}\n\n{means_table(means)}",
        "accuracy without clustered labels": f"{sets_of(kept)}\n\n{means_table(means, kept)}",
        "accuracy per set": per_set_table(scores),
        "rare types": by_set_table(scores, "rare found", "rare types"),
        "recall": by_set_table(scores, "recall"),
    }


def head(scores: pd.DataFrame) -> str:
    """Describe seeds, software, machine and sets of the scores."""
    seeds = ", ".join(map(str, sorted(scores["seed"].unique())))
    software = ", ".join(scores["software"].unique())
    machines = "; ".join(scores["machine"].unique())
    return f"Seeds {seeds}; {software}; {machines}. {sets_of(without_batches(scores))}"


def sets_of(scores: pd.DataFrame) -> str:
    """Name the sets over which means are taken."""
    names = sorted(scores["set"].unique())
    return f"Over {len(names)} sets: {', '.join(names)}."


def by_method(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and the scores of each method, in the order of `methods.METHODS`."""
    for key, method in METHODS.items():
        rows = scores[scores["method"] == key]
        if len(rows):
            yield method.title, rows


def line(*cells: str) -> str:
    """Return a row of a markdown table."""
    return f"| {' | '.join(cells)} |"


def header(*names: str) -> list[str]:
    """Return the first two lines of a markdown table."""
    return [line(*names), "|---" * len(names) + "|"]


def mean_and_spread(values: pd.Series, digits: int, *, spread: bool = True) -> str:
    """Return "mean ± standard deviation"; only the mean for one value, "" for none."""
    values = pd.Series(values).dropna()
    if not len(values):
        return ""
    shown = f" ± {values.std():.{digits}f}" if spread and len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{shown}"


def over_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each seed, with sums or means over sets."""
    how = {column: "sum" if column in SUMMED else "mean" for column in [*MEANS, *LAST]}
    return rows.groupby("seed").agg(how)


def means_table(scores: pd.DataFrame, kept: pd.DataFrame | None = None) -> str:
    """Return a table with a row for each method and choice of setting.

    Settings are chosen from all of `scores`. With `kept`, a part of `scores`, means are taken over
    the sets of that part.

    ± is the standard deviation over seeds of the mean (or sum) over sets. Methods that did not run
    on all sets with the same seeds are listed below the table.
    """
    kept = scores if kept is None else kept
    everything = kept.groupby("set")[["types", "rare types"]].first().sum()
    runs = len(kept[["set", "seed"]].drop_duplicates())
    shown = {
        **{column: column for column in [*MEANS, *LAST]},
        "types found": f"types (of {everything['types']})",
        "rare found": f"rare types (of {everything['rare types']})",
    }
    lines, missing = header("method", "setting", *shown.values()), []
    for title, rows in by_method(scores):
        for choice, part in choices(rows).items():
            part = part[part["set"].isin(kept["set"])]
            if len(part[["set", "seed"]].drop_duplicates()) < runs:
                missing.append(f"{title} ({choice})" if choice else title)
                continue
            means = over_sets(part)
            cells = [mean_and_spread(means[column], digits) for column, digits in MEANS.items()]
            cells += [
                mean_and_spread(means[column], n, spread=False) for column, n in LAST.items()
            ]
            lines.append(line(title, choice, *cells))
    left = f"\n\nNot run on all of these sets and seeds: {', '.join(missing)}." if missing else ""
    return "\n".join(lines) + left


def per_set_table(scores: pd.DataFrame) -> str:
    """Return a table by set: scores at the defaults and at the setting chosen on other sets."""
    lines = header(
        "set", "method", "ARI, default", "types", "clusters", "ARI, left out", "types", "clusters"
    )
    for name, on_set in scores.groupby("set"):
        lines.append(line(f"**{name}** ({on_set['types'].iloc[0]} types)", *[""] * 7))
        for title, rows in by_method(scores):
            if name not in set(rows["set"]):
                continue
            cells = []
            for part in (at_default(rows), left_out(rows)):
                here = part[part["set"] == name]
                cells += [
                    mean_and_spread(here[column], digits)
                    for column, digits in {"ARI": 3, "types found": 1, "clusters": 1}.items()
                ]
            lines.append(line("", title, *cells))
    return "\n".join(lines)


def by_set_table(scores: pd.DataFrame, column: str, total: str | None = None) -> str:
    """Return a table of one score with a column for each set, averaged over seeds.

    `total` names the column with the number of items to find. With it, methods with several
    settings have two rows (default, and setting chosen on other sets), sets with nothing to find
    are skipped, and the last column is the sum. Without it, the last column is the mean over sets
    without batches to remove.
    """
    if total:
        scores = without_batches(scores[scores[total] > 0])
    totals = scores.groupby("set")[total].first() if total else None
    names = sorted(scores["set"].unique())
    shown = [f"{name} (of {totals[name]})" for name in names] if total else names
    last = f"all (of {totals.sum()})" if total else "mean without sc_mixology_5cl"
    lines = header("method", *shown, last)
    for title, rows in by_method(scores[scores[column].notna()]):
        parts = {title: at_default(rows)}
        if total and rows["setting"].nunique() > 1:
            parts = {f"{title}, default": at_default(rows), f"{title}, left out": left_out(rows)}
        for label, part in parts.items():
            found = part.groupby("set")[column].mean().reindex(names)
            counted = found[sorted(without_batches(scores)["set"].unique())]
            overall = counted.sum() if total else counted.mean()
            cells = ["" if pd.isna(v) else f"{v:.{1 if total else 3}f}" for v in found]
            complete = counted.notna().all()
            lines.append(
                line(label, *cells, f"{overall:.{1 if total else 3}f}" if complete else "")
            )
    return "\n".join(lines)
