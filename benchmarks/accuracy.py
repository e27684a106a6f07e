"""Compare clusters with known labels: bgformer and other methods on every labelled set.

    python benchmarks/accuracy.py --csv FILE [--sets a,b] [--seeds 0,1] [--peers ours,leiden]
    python benchmarks/accuracy.py --from-csv a.csv,b.csv [--write]

Set the environment variable BGFORMER_DATA to a folder of .h5ad files with raw counts in ``X``,
labels in ``obs["cell_type"]`` and batches in ``obs["batch"]``. Each method gets the counts, the
batches for sets in `labelled.SETS_WITH_BATCHES`, and what its title says.

A full run takes hours. --csv appends the scores of each run to a file as it ends, and skips runs
that the file already has; --again repeats them. --from-csv makes the tables from such files
without running anything. If a run appears twice, the last one counts. --write replaces the tables
in docs/benchmarks.md and the figure docs/images/accuracy.png.

The other methods need R with Seurat, which ``make setup`` installs, and a separate Python
environment, so that the environment of the tests, .venv, does not change::

    python3.11 -m venv bench && bench/bin/pip install -c constraints.txt pip
    bench/bin/pip install -c constraints.txt torch
    bench/bin/pip install -c constraints.txt --group benchmarks -e .
    bench/bin/pip install --no-deps louvain "setuptools<81"

The last line is for Secuer, which needs louvain but does not declare it. louvain asks for an older
igraph than ours but also works with ours. It needs pkg_resources, which newer setuptools lack.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import accuracy_figure
import anndata
import pandas as pd
import tables
from labelled import labelled_sets, without_labels
from methods import METHODS, batch_key, setting_name, silence, warm_up
from scores import against_labels, neighbour_recall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from methods import Method

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = ROOT / "docs" / "images" / "accuracy.png"
RUN = ["set", "method", "setting", "seed"]


def run(
    path: Path, seed: int, methods: dict[str, Method], done: set[tuple]
) -> Iterator[dict[str, object]]:
    """Run methods on one set with one seed, and score each setting as it ends.

    `done` holds the runs to skip, as (set, method, setting, seed).
    """
    full = anndata.read_h5ad(path)
    truth = full.obs["cell_type"].astype(str).to_numpy()
    hidden = without_labels(full, path.stem)
    todo = {
        key: [s for s in method.settings if (path.stem, key, setting_name(s), seed) not in done]
        for key, method in methods.items()
        if not method.needs_batch or batch_key(hidden)
    }
    prepares = dict.fromkeys(methods[key].prepare for key, settings in todo.items() if settings)
    for prepare in prepares:
        sharing = {key: todo[key] for key in todo if methods[key].prepare is prepare}
        yield from run_sharing(hidden, truth, seed, sharing)


def run_sharing(
    hidden: anndata.AnnData, truth: np.ndarray, seed: int, todo: dict[str, list[float | None]]
) -> Iterator[dict[str, object]]:
    """Run the settings `todo` of methods that share their preparation.

    If a run fails, print the error and skip it, so that it does not end a benchmark of hours.
    """
    known = {"n_clusters": len(set(truth)), "labels": truth}
    first = METHODS[next(iter(todo))]
    prepared = hidden.copy()
    told = {given: known[given] for given in first.prepare_given}
    try:
        shared, _ = timed(first.prepare, prepared, seed, **told)
    except Exception:
        failed(f"{', '.join(todo)}, seed {seed}")
        return
    recalls: dict[Callable, float] = {}
    for key, settings in todo.items():
        method = METHODS[key]
        if settings and method.latent and method.latent not in recalls:
            recalls[method.latent] = neighbour_recall(method.latent(prepared), truth)
        for setting in settings:
            adata, name = prepared.copy(), setting_name(setting)
            told = {given: known[given] for given in method.given}
            try:
                seconds, labels = timed(method.cluster, adata, seed, setting, **told)
            except Exception:
                failed(f"{key}, setting {name}, seed {seed}")
                continue
            confidence = adata.obs.get("bgformer_confidence")
            yield {
                "method": key,
                "setting": name,
                "seed": seed,
                **against_labels(
                    truth, labels, None if confidence is None else confidence.to_numpy()
                ),
                "recall": recalls.get(method.latent),
                "seconds": shared + seconds + adata.uns.get("seconds", {}).get(name, 0.0),
            }


def failed(what: str) -> None:
    """Print the error that ended a run."""
    print(f"FAILED: {what}; the same command tries it again.", file=sys.stderr)
    traceback.print_exc()


def timed(function: Callable, *arguments: object, **named: object) -> tuple[float, object]:
    """Call a function; return the seconds it took and its result."""
    started = time.perf_counter()
    result = function(*arguments, **named)
    return time.perf_counter() - started, result


def run_all(
    paths: list[Path], seeds: list[int], methods: dict[str, Method], csv: Path | None, again: bool
) -> pd.DataFrame:
    """Run methods on sets with seeds; append each score to the file `csv`, if given, at once."""
    software = {key: method.software() for key, method in methods.items()}
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    earlier = read_scores([csv]) if csv and csv.exists() else pd.DataFrame(columns=RUN)
    done = set() if again else set(earlier[RUN].itertuples(index=False, name=None))
    warm_up()
    rows = []
    for seed in seeds:
        for path in paths:
            for scored in run(path, seed, methods, done):
                row = {"set": path.stem, **scored}
                row |= {"software": software[row["method"]], "machine": machine}
                rows.append(row)
                shown = (f"{v:.3f}" if isinstance(v, float) else v for v in row.values())
                print(*shown, flush=True)
                if csv:
                    line = pd.DataFrame([row])
                    line.to_csv(csv, mode="a", header=not csv.exists(), index=False)
    if not rows and earlier.empty:
        raise SystemExit("no run ended with a score.")
    return latest([earlier, pd.DataFrame(rows)])


def read_scores(files: list[Path]) -> pd.DataFrame:
    """Return the scores in files of earlier runs."""
    return latest([pd.read_csv(file, dtype={"setting": str}) for file in files])


def latest(scores: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the last scores of each run, in the order of the tables, for current methods."""
    found = pd.concat([part for part in scores if len(part)], ignore_index=True)
    found = found[found["method"].isin(METHODS)].drop_duplicates(RUN, keep="last")
    order = pd.Categorical(found["method"], list(METHODS), ordered=True)
    found = found.assign(order=order).sort_values(["set", "order", "setting", "seed"])
    return found.drop(columns="order").reset_index(drop=True)


def write(name: str, text: str) -> None:
    """Write a table between its markers in docs/benchmarks.md."""
    write_all({name: text})


def write_all(texts: dict[str, str]) -> None:
    """Write tables between their markers in docs/benchmarks.md; all of them or none.

    Raises
    ------
    SystemExit
        If a marker is missing or appears twice.
    """
    page = PAGE.read_text(encoding="utf-8")
    for name, text in texts.items():
        start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
            raise SystemExit(
                f"docs/{PAGE.name} must have the lines '{start}' and '{end}' once each, in this "
                f"order. Add them where the table belongs, then run this again with --from-csv."
            )
        before, rest = page.split(start)
        page = f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}"
    PAGE.write_text(page, encoding="utf-8")


def chosen_methods(names: str) -> dict[str, Method]:
    """Return the methods of the comma-separated `names`."""
    unknown = [name for name in names.split(",") if name not in METHODS]
    if unknown:
        raise SystemExit(f"no method '{unknown[0]}'; there are {', '.join(METHODS)}.")
    return {name: METHODS[name] for name in names.split(",")}


def main() -> None:
    """Run the benchmark."""
    usual = ",".join(name for name, method in METHODS.items() if method.usual)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="comma-separated names of sets; default: all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--peers", default=usual, help="methods; default: %(default)s")
    parser.add_argument("--csv", type=Path, help="append the scores of each run to this file")
    parser.add_argument("--again", action="store_true", help="repeat runs already in the file")
    parser.add_argument("--from-csv", default="", help="make the tables from these files")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md, figure")
    parser.add_argument("--figure", type=Path, help="draw the figure into this file")
    chosen = parser.parse_args()
    silence()
    if chosen.from_csv:
        scores = read_scores([Path(file) for file in chosen.from_csv.split(",")])
    else:
        seeds = [int(seed) for seed in chosen.seeds.split(",")]
        methods = chosen_methods(chosen.peers)
        scores = run_all(labelled_sets(chosen.sets), seeds, methods, chosen.csv, chosen.again)
    texts = tables.all_tables(scores)
    for name, text in texts.items():
        print(f"\n{name}\n\n{text}")
    if chosen.write:
        write_all(texts)
    figure = chosen.figure or (FIGURE if chosen.write else None)
    if figure:
        accuracy_figure.draw(scores, figure)


if __name__ == "__main__":
    main()
