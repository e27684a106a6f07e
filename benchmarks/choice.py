"""Choose the setting of a method for a table: default, best over all sets, or one set left out.

"Best over all sets" uses the labels by which it is scored. "One set left out" does not: for each
set it uses the setting with the highest mean ARI on the other sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from labelled import SETS_WITH_BATCHES
from methods import METHODS, setting_name

if TYPE_CHECKING:
    import pandas as pd


def without_batches(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores on sets without batches to remove."""
    return scores[~scores["set"].isin(SETS_WITH_BATCHES)]


def at_default(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of one method at its default setting."""
    return rows[rows["setting"] == setting_name(METHODS[rows["method"].iloc[0]].default)]


def best_setting(rows: pd.DataFrame, column: str) -> str:
    """Return the setting with the highest mean over sets; ties go to the earlier in the grid.

    Settings that did not run on all sets of `rows` are ignored.
    """
    by_set = rows.groupby(["setting", "set"])[column].mean().unstack()
    means = by_set.mean(axis=1).where(by_set.notna().all(axis=1))
    grid = [setting_name(setting) for setting in METHODS[rows["method"].iloc[0]].settings]
    means = means.reindex(grid).dropna()
    return str(means.idxmax()) if len(means) else grid[0]


def best_over_all(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the scores of one method at the setting that is best over all sets."""
    return rows[rows["setting"] == best_setting(without_batches(rows), column)]


def left_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of one method, for each set at the setting that is best on other sets.

    Other sets are those without batches to remove. If there are none, the set is omitted, unless
    the method has a single setting.
    """
    if rows["setting"].nunique() == 1:
        return rows
    keep = np.zeros(len(rows), dtype=bool)
    for name in rows["set"].unique():
        others = without_batches(rows[rows["set"] != name])
        if len(others):
            chosen = best_setting(others, "ARI")
            keep |= ((rows["set"] == name) & (rows["setting"] == chosen)).to_numpy()
    return rows[keep]


def choices(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the scores of one method for each choice, by the name of the choice."""
    method = METHODS[rows["method"].iloc[0]]
    if len(method.settings) == 1:
        return {"": rows}
    found = {
        f"default{named([setting_name(method.default)])}": at_default(rows),
        "best ARI over all sets": best_over_all(rows, "ARI"),
        "most types over all sets": best_over_all(rows, "types found"),
        "one set left out": left_out(rows),
    }
    return {
        choice if choice.startswith("default") else choice + named(part["setting"].unique()): part
        for choice, part in found.items()
    }


def named(settings: list[str]) -> str:
    """Return settings in brackets; empty if the only one is "default"."""
    shown = [setting for setting in settings if list(settings) != ["default"]]
    return f" ({', '.join(sorted(shown))})" if shown else ""
