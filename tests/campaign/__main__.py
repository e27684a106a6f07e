"""Runs the campaign: ``python tests/campaign --cases 2000 --seed 0``."""

import argparse
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from generation import drawn
from harness import Worker
from outcomes import CLASSES, FINE, Outcome

KINDS = {"inputs": 0.4, "arguments": 0.3, "damage": 0.3, "kills": 0.1, "disks": 0.05}
"""Kinds of cases, each a module, and how many there are of each, as a share of --cases."""
IN_WORKERS = ("inputs", "arguments", "damage")
"""Kinds that run in a process that is kept; the others start processes of their own."""


def main() -> int:
    """Run the cases that were asked for, print how they ended, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python tests/campaign", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="generated inputs; default 2000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS, action="append", help="kinds to run")
    parser.add_argument("--case", type=int, help="repeat the case with this number")
    options = parser.parse_args()
    kinds = options.only or list(KINDS)
    numbers = [
        (kind, number)
        for kind in kinds
        for number in (
            range(max(1, round(options.cases * KINDS[kind])))
            if options.case is None
            else [options.case]
        )
    ]
    warnings.simplefilter("ignore")  # of anndata, about the formats it will write one day
    started = time.monotonic()
    ended = run_all(numbers, options.seed)
    print(table(ended, kinds))
    print(f"{len(ended)} cases in {time.monotonic() - started:.0f} s, seed {options.seed}")
    bad = [one for one in ended if one[2].end not in FINE]
    show(bad if options.case is None else ended, options.seed)
    return 1 if bad else 0


def show(ended: list[tuple[str, int, Outcome, object]], seed: int) -> None:
    """Print cases with what repeats them; of those that differ in names and numbers alone, one."""
    np.set_printoptions(threshold=20)
    by_text: dict[str, list] = {}
    for one in ended:
        alike = re.sub(r"[\d.]+|'[^']*'", "", f"{one[2].end} {one[2].detail}")[:200]
        by_text.setdefault(alike, []).append(one)
    for (kind, number, outcome, case), *others in by_text.values():
        more = f", and {len(others)} like it" if others else ""
        print(f"\n{outcome.end}: --seed {seed} --only {kind} --case {number}{more}")
        print(f"  {outcome.detail}\n  {case!r}"[:1500])


def run_all(numbers: list[tuple[str, int]], seed: int) -> list[tuple[str, int, Outcome, object]]:
    """Run cases on all cores and return how each ended, in their order."""
    n_jobs = os.cpu_count() or 1
    workers: SimpleQueue[Worker] = SimpleQueue()
    for _ in range(n_jobs):
        workers.put(Worker())
    modules = {kind: import_module(kind) for kind, _ in numbers}

    def run(kind: str, number: int, case: object) -> tuple[str, int, Outcome, object]:
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            if kind not in IN_WORKERS:
                return kind, number, modules[kind].run(case, Path(folder)), case
            worker = workers.get()
            try:
                return kind, number, worker.run(kind, case, Path(folder)), case
            finally:
                workers.put(worker)

    # Hypothesis draws in this thread alone.
    cases = [(kind, n, drawn(modules[kind].cases(), seed, n)) for kind, n in numbers]
    try:
        with ThreadPoolExecutor(n_jobs) as pool:
            ended = []
            for one in pool.map(lambda one: run(*one), cases):
                ended.append(one)
                if one[2].end not in FINE or len(ended) % 100 == 0:
                    told = f"{one[0]} {one[1]}: {one[2].end}, {len(ended)} of {len(cases)} cases"
                    print(told, file=sys.stderr, flush=True)
            return ended
    finally:
        for _ in range(n_jobs):
            workers.get().stop()


def table(ended: list[tuple[str, int, Outcome, object]], kinds: list[str]) -> str:
    """Return the counts of each end, by kind, as a table in Markdown."""
    counts = Counter((kind, outcome.end) for kind, _, outcome, _ in ended)
    rows = [["kind", *CLASSES]]
    rows += [[kind, *(str(counts[kind, end]) for end in CLASSES)] for kind in kinds]
    rows += [["all", *(str(sum(counts[kind, end] for kind in kinds)) for end in CLASSES)]]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows
    ]
    lines.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" if "-|-" not in line else f"|-{line}-|" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
