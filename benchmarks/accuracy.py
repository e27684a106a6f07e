"""Clusters against known labels: bgformer and its peers on every labelled set.

    python benchmarks/accuracy.py [--sets a,b] [--seeds 0,1] [--peers ours,leiden] [--csv FILE]
    python benchmarks/accuracy.py --from-csv a.csv,b.csv [--write]

Reads the .h5ad files in the folder that the environment variable BGFORMER_DATA names: raw counts
in ``X``, labels in ``obs["cell_type"]``, batches, if any, in ``obs["batch"]``. A method gets
counts and batches alone, plus the true number of clusters where its name says so; labels go to
the scores and nowhere else.

A whole run takes hours: --csv adds the scores of each run to a file as it ends, and --from-csv
makes the tables from such files instead of running anything; of a run that is there twice the last
counts. With --write the tables replace those in docs/benchmarks.md.

The peers need R with Seurat, which ``make setup`` installs, and in a Python environment of their
own, so that .venv stays what the tests run with::

    python3.11 -m venv bench && bench/bin/pip install -c constraints.txt pip
    bench/bin/pip install -c constraints.txt torch
    bench/bin/pip install -c constraints.txt --group benchmarks -e .
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import pandas as pd
from methods import METHODS, batch_key, silence, warm_up
from scores import against_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from methods import Method

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
RUN = ["set", "method", "seed"]


def labelled_sets(names: str = "") -> list[Path]:
    """Return the files of the labelled sets; `names`, comma-separated, picks some."""
    folder = os.environ.get("BGFORMER_DATA")
    if not folder:
        raise SystemExit("set BGFORMER_DATA to the folder with the labelled .h5ad files.")
    found = sorted(Path(folder).glob("*.h5ad"))
    paths = [path for path in found if not names or path.stem in names.split(",")]
    if not paths:
        raise SystemExit(f"no such .h5ad files in '{folder}', which BGFORMER_DATA names.")
    return paths


def without_labels(full: anndata.AnnData) -> anndata.AnnData:
    """Return the counts and, where there are any, the batches: all that a method may see."""
    return anndata.AnnData(full.X, obs=full.obs.filter(items=["batch"]), var=full.var[[]])


def run(path: Path, seed: int, methods: list[Method]) -> Iterator[dict[str, object]]:
    """Run methods on one set with one seed, and score each as it ends."""
    full = anndata.read_h5ad(path)
    truth = full.obs["cell_type"].astype(str).to_numpy()
    hidden = without_labels(full)
    for prepare in dict.fromkeys(method.prepare for method in methods):
        prepared = hidden.copy()
        started = time.perf_counter()
        prepare(prepared, seed)
        shared = time.perf_counter() - started
        for method in methods:
            if method.prepare is not prepare or (method.needs_batch and not batch_key(hidden)):
                continue
            adata = prepared.copy()
            given = {"n_clusters": len(set(truth))} if method.given_k else {}
            started = time.perf_counter()
            labels = method.cluster(adata, seed, **given)
            seconds = shared + time.perf_counter() - started
            confidence = adata.obs.get("bgformer_confidence")
            yield {
                "set": path.stem,
                "method": method.title,
                "seed": seed,
                **against_labels(
                    truth, labels, None if confidence is None else confidence.to_numpy()
                ),
                "seconds": seconds,
            }


def run_all(
    paths: list[Path], seeds: list[int], methods: list[Method], csv: Path | None
) -> pd.DataFrame:
    """Run methods on sets with seeds; add each score to the file `csv`, if given, at once."""
    software = {method.title: method.software() for method in methods}
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    warm_up()
    rows = []
    for path in paths:
        for seed in seeds:
            for row in run(path, seed, methods):
                row |= {"software": software[row["method"]], "machine": machine}
                rows.append(row)
                shown = (f"{v:.3f}" if isinstance(v, float) else v for v in row.values())
                print(*shown, flush=True)
                if csv:
                    line = pd.DataFrame([row])
                    line.to_csv(csv, mode="a", header=not csv.exists(), index=False)
    return pd.DataFrame(rows)


def read_scores(files: str) -> pd.DataFrame:
    """Return the scores in files of earlier runs, the last of each run, in the tables' order."""
    scores = pd.concat([pd.read_csv(file) for file in files.split(",")])
    scores = scores.drop_duplicates(RUN, keep="last")
    order = [method.title for method in METHODS.values()]
    scores["method"] = pd.Categorical(scores["method"], order, ordered=True)
    return scores.sort_values(RUN).astype({"method": str})


def head(scores: pd.DataFrame) -> str:
    """Say what the scores were measured with."""
    seeds = ", ".join(map(str, sorted(scores["seed"].unique())))
    software = ", ".join(scores["software"].unique())
    return f"Seeds {seeds}; {software}; {'; '.join(scores['machine'].unique())}."


def accuracy_table(scores: pd.DataFrame) -> str:
    """Return a markdown table: means over seeds ± standard deviations, then means over sets."""
    digits = {"ARI": 3, "NMI": 3, "clusters": 1, "seconds": 1, "ECE": 3}
    lines = [f"| set | method | {' | '.join(digits)} |", "|---" * (2 + len(digits)) + "|"]
    for (name, method), rows in scores.groupby(["set", "method"], sort=False):
        cells = [mean_and_spread(rows[column], n) for column, n in digits.items()]
        lines.append(f"| {name} | {method} | {' | '.join(cells)} |")
    for method, rows in scores.groupby("method", sort=False):
        by_set = rows.groupby("set")[list(digits)].mean()
        if len(by_set) == scores["set"].nunique():  # a mean over other sets would not compare
            cells = [mean_and_spread(by_set[column].mean(), n) for column, n in digits.items()]
            lines.append(f"| **mean of sets** | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_spread(values: pd.Series | float, digits: int) -> str:
    """Return "mean ± standard deviation", without what there is none of."""
    values = pd.Series(values)
    if values.isna().all():
        return ""
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def rare_table(scores: pd.DataFrame) -> str:
    """Return a markdown table: rare types with a cluster of their own, mean over seeds."""
    with_rare = scores[scores["rare types"] > 0]
    found = with_rare.pivot_table("rare found", "method", "set", sort=False)
    total = with_rare.groupby("set", sort=False)["rare types"].first()
    columns = [f"{name} (of {total[name]})" for name in total.index]
    lines = [
        f"| {' | '.join(['method', *columns, f'all (of {total.sum()})'])} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for method, row in found.dropna().iterrows():
        cells = [f"{value:.1f}" for value in [*row, row.sum()]]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Put a table between its markers in the page."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    after = rest.split(end)[1]
    PAGE.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def chosen_methods(names: str) -> list[Method]:
    """Return the methods of the comma-separated `names`."""
    unknown = set(names.split(",")) - set(METHODS)
    if unknown:
        raise SystemExit(f"no method '{unknown.pop()}'; there are {', '.join(METHODS)}.")
    return [METHODS[name] for name in names.split(",")]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all if empty")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--peers", default=",".join(METHODS), help="methods; default: %(default)s")
    parser.add_argument("--csv", type=Path, help="add the scores of each run to this file")
    parser.add_argument("--from-csv", default="", help="make the tables from these files")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    silence()
    if chosen.from_csv:
        scores = read_scores(chosen.from_csv)
    else:
        seeds = [int(seed) for seed in chosen.seeds.split(",")]
        methods = chosen_methods(chosen.peers)
        scores = run_all(labelled_sets(chosen.sets), seeds, methods, chosen.csv)
    tables = {
        "accuracy": f"{head(scores)}\n\n{accuracy_table(scores)}",
        "rare types": rare_table(scores),
    }
    for name, text in tables.items():
        print(f"\n{text}")
        if chosen.write:
            write(name, text)


if __name__ == "__main__":
    main()
