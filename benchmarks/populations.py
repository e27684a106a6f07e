"""Test clusters of single populations, of a few types, and of half of the cells.

    python benchmarks/populations.py --csv FILE [--seeds 0,1] [--peers ours,leiden] [--sets a,b]
    python benchmarks/populations.py --from-csv FILE [--write]

Each group of one or more populations (see population_groups.py) is clustered on its own with the
defaults of a method, without labels. Each whole set is clustered to see which types of a group are
found there. A random half of each set is clustered to see which types are found again. Data as in
accuracy.py. --csv appends each run to a file and skips runs that it already has. --write replaces
the tables in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from accuracy import chosen_methods, failed, timed, write_all
from labelled import without_labels
from methods import METHODS, silence, warm_up
from population_groups import all_groups
from scores import FOUND_F1, best_f1
from sklearn.metrics import adjusted_rand_score
from tables import header, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anndata
    from methods import Method
    from population_groups import Group

RUN = ["set", "group", "method", "seed"]
WHOLE, HALF = "whole set", "random half"


def clusters(counts: anndata.AnnData, method: Method, seed: int) -> np.ndarray:
    """Return the clusters of a method at its defaults."""
    method.prepare(counts, seed)
    return method.cluster(counts, seed, method.default)


def run(
    full: anndata.AnnData, name: str, groups: list[Group], seed: int, done: set[tuple], key: str
) -> Iterator[dict[str, object]]:
    """Cluster a whole set, half of it, and each of its groups with one method and seed."""
    truth = full.obs["cell_type"].astype(str).to_numpy()
    everything = np.ones(len(truth), dtype=bool)
    # batches are given for the whole set only: a group is from one protocol
    half = np.isin(np.arange(len(truth)), np.random.default_rng(seed).permutation(len(truth))[::2])
    todo = [
        (WHOLE, WHOLE, everything, without_labels(full, name)),
        (HALF, HALF, half, without_labels(full[half], name)),
    ]
    todo += [
        (group.name, group.kind, cells, without_labels(full[cells], ""))
        for group in groups
        for cells in [group.cells(full)]
    ]
    for title, kind, cells, counts in todo:
        if (name, title, key, seed) in done:
            continue
        try:
            seconds, labels = timed(clusters, counts, METHODS[key], seed)
        except Exception:
            failed(f"{title} of {name}, {key}, seed {seed}")
            continue
        f1 = best_f1(truth[cells], labels)
        yield {
            "set": name,
            "group": title,
            "kind": kind,
            "method": key,
            "seed": seed,
            "cells": int(cells.sum()),
            "smallest": int(pd.Series(truth[cells]).value_counts().min()),
            "clusters": len(set(labels)),
            "ARI": adjusted_rand_score(truth[cells], labels),
            "F1": json.dumps({str(t): round(float(value), 4) for t, value in f1.items()}),
            "seconds": seconds,
            "software": METHODS[key].software(),
        }


def run_all(
    methods: list[str], seeds: list[int], sets: list[str], csv: Path | None
) -> pd.DataFrame:
    """Run all groups; append each run to the file `csv`, if given, as it ends."""
    earlier = pd.read_csv(csv) if csv and csv.exists() else pd.DataFrame(columns=RUN)
    done = set(earlier[RUN].itertuples(index=False, name=None))
    warm_up()
    rows = []
    for name, full, groups in all_groups():
        if sets and name not in sets:
            continue
        for seed in seeds:
            for key in methods:
                for row in run(full, name, groups, seed, done, key):
                    rows.append(row)
                    shown = (f"{v:.3f}" if isinstance(v, float) else v for v in row.values())
                    print(*shown, flush=True)
                    if csv:
                        added = pd.DataFrame([row])
                        added.to_csv(csv, mode="a", header=not csv.exists(), index=False)
    found = [part for part in (earlier, pd.DataFrame(rows)) if len(part)]
    if not found:
        raise SystemExit("no run ended with a score.")
    return pd.concat(found, ignore_index=True)


def judged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs on groups, with columns that say whether they succeeded.

    Added columns are "split" (two or more clusters), "worst F1" (lowest F1 of a type), "each
    found" (every type has an F1 of 0.7 or more), "whole finds" (the clustering of the whole set
    finds every type of the group) and "passed". A group of one population passes with one cluster.
    Any other group passes with two or more clusters that find every type found in the whole set.
    """
    whole = {
        (row["set"], row["method"], row["seed"]): json.loads(row["F1"])
        for _, row in runs[runs["kind"] == WHOLE].iterrows()
    }
    judged = runs[~runs["kind"].isin([WHOLE, HALF])].copy()
    marks = []
    for _, row in judged.iterrows():
        f1 = json.loads(row["F1"])
        of_set = whole.get((row["set"], row["method"], row["seed"]), {})
        found_by_whole = [t for t in f1 if of_set.get(t, 0) >= FOUND_F1]
        split = row["clusters"] > 1
        kept = all(f1[t] >= FOUND_F1 for t in found_by_whole)
        marks.append(
            {
                "split": split,
                "worst F1": min(f1.values()),
                "each found": min(f1.values()) >= FOUND_F1,
                "whole finds": len(found_by_whole) == len(f1),
                "passed": not split if row["kind"] == "one" else split and kept,
            }
        )
    return pd.concat([judged, pd.DataFrame(marks, index=judged.index)], axis=1)


def group_table(runs: pd.DataFrame) -> str:
    """Return a table with a row for each group and method, averaged over seeds."""
    shown = {
        "clusters": ".1f",
        "ARI": ".2f",
        "worst F1": ".2f",
        "split": ".0%",
        "each found": ".0%",
        "whole finds": ".0%",
    }
    lines = header("group", "kind", "cells", "smallest type", "method", *shown)
    for (kind, group, key), rows in runs.groupby(["kind", "group", "method"], sort=False):
        means = rows[list(shown)].astype(float).mean()
        # with one type, only the number of clusters is informative
        hidden = {"ARI", "worst F1", "each found", "whole finds"} if kind == "one" else set()
        cells = ["" if c in hidden else format(means[c], digits) for c, digits in shown.items()]
        first = rows.iloc[0]
        size = [str(first["cells"]), "" if kind == "one" else str(first["smallest"])]
        lines.append(line(group, kind, *size, METHODS[key].title, *cells))
    return "\n".join(lines)


def summary_table(runs: pd.DataFrame) -> str:
    """Return a table of specificity and sensitivity over groups and seeds."""
    lines = header(
        "method",
        "specificity: one cluster where one is right",
        "sensitivity: two or more where two or more are",
        "of these groups, each type found",
        "… and as well as in the whole set",
    )
    for key, rows in runs.groupby("method", sort=False):
        one, more = rows[rows["kind"] == "one"], rows[rows["kind"] != "one"]
        cells = [
            share(~one["split"].astype(bool)),
            share(more["split"]),
            share(more["each found"]),
            share(more["passed"]),
        ]
        lines.append(line(METHODS[key].title, *cells))
    return "\n".join(lines)


def half_table(runs: pd.DataFrame) -> str:
    """Return a table of the types found in whole sets, and how many are found again in a half."""
    lines = header("method", "set", "types found in the whole set", "of these in a random half")
    f1 = runs[runs["kind"].isin([WHOLE, HALF])].set_index(["method", "set", "seed", "kind"])["F1"]
    counts = []
    for run, pair in f1.groupby(level=["method", "set", "seed"], sort=False):
        if len(pair) == 2:
            whole, half = (json.loads(pair[(*run, kind)]) for kind in (WHOLE, HALF))
            found = [t for t, value in whole.items() if value >= FOUND_F1 and t in half]
            again = sum(half[t] >= FOUND_F1 for t in found)
            counts.append({"method": run[0], "set": run[1], "found": len(found), "again": again})
    for key, rows in pd.DataFrame(counts).groupby("method", sort=False):
        for name, sums in rows.groupby("set", sort=False)[["found", "again"]].sum().iterrows():
            lines.append(line(METHODS[key].title, name, str(sums["found"]), str(sums["again"])))
        found, again = rows["found"].sum(), rows["again"].sum()
        lines.append(line(METHODS[key].title, "all", str(found), f"{again} ({again / found:.0%})"))
    return "\n".join(lines)


def share(hits: pd.Series) -> str:
    """Return "hits of runs (percent)"."""
    hits = hits.astype(bool)
    return f"{hits.sum()} of {len(hits)} ({hits.mean():.0%})" if len(hits) else ""


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--peers", default="ours,leiden", help="methods; default: %(default)s")
    parser.add_argument("--sets", default="", help="comma-separated names of sets; default: all")
    parser.add_argument("--csv", type=Path, help="append each run to this file")
    parser.add_argument("--from-csv", type=Path, help="make the tables from this file")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    chosen = parser.parse_args()
    silence()
    if chosen.from_csv:
        runs = pd.read_csv(chosen.from_csv)
    else:
        methods = list(chosen_methods(chosen.peers))
        seeds = [int(seed) for seed in chosen.seeds.split(",")]
        runs = run_all(methods, seeds, chosen.sets.split(",") if chosen.sets else [], chosen.csv)
    runs = runs[runs["method"].isin(METHODS)].drop_duplicates(RUN, keep="last")
    seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
    groups = judged(runs)
    head = f"Seeds {seeds}; {', '.join(runs['software'].unique())}."
    tables = {
        "populations": f"{head}\n\n{summary_table(groups)}",
        "population groups": group_table(groups),
        "halves": half_table(runs),
    }
    print(*tables.values(), sep="\n\n")
    if chosen.write:
        write_all(tables)


if __name__ == "__main__":
    main()
