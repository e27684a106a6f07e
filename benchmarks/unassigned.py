"""Cells unlike the reference: leave each cell type out of it, and count who is "unassigned".

    python benchmarks/unassigned.py --csv FILE [--sets a,b] [--seeds 0,1]
    python benchmarks/unassigned.py --from-csv a.csv,b.csv [--write]

The data sets are those of accuracy.py without batches to remove. The reference is a random 70 % of
the cells of all other types. The new cells are the other 30 %, with all cells of the type that was
left out; once as they are, and once with a random half of their counts. Types with fewer than 20
cells are not left out, and the reference always has them. Labels are used only for this choice and
for scoring.

In sets with batches, each batch is predicted from all others, and nothing is left out: whoever is
unassigned is so by mistake.

The threshold and the priors of `bgformer.graph.outliers` were chosen on the sets in `CHOSEN_ON`;
the others are the test.

--csv appends a row for each type as it is measured, and skips those that the file already has.
--from-csv makes the table from such files. --write replaces the table in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
from accuracy import write
from labelled import SETS_WITH_BATCHES, labelled_sets
from scipy import sparse
from tables import header, line

import bgformer as bgf

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOSEN_ON = ("cite_cbmc_top2000", "pbmc3k", "pbmc4k_top2000")
COLUMNS = ["set", "type", "seed", "cells", "left out", "others"]
COLUMNS += [f"{name}, half the counts" for name in COLUMNS[-2:]]
FEWEST = 20
"""Minimum number of cells of a type that is left out."""
SHARE = 0.7
"""Share of the cells of the other types that the reference has."""
MOST_FOUND, MOST_FALSE = 0.8, 0.05
"""A type is recognised if at least this share of it is unassigned, and at most this of others."""


def shares(new: anndata.AnnData, model: bgf.BGFormer, is_left_out: np.ndarray) -> list[float]:
    """Return the unassigned share of the type that was left out, and that of all other cells."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* are unlike those of the reference")
        bgf.tl.predict(new, model)
    unassigned = (new.obs["bgformer"] == "unassigned").to_numpy()
    left_out = float(unassigned[is_left_out].mean()) if is_left_out.any() else np.nan
    return [left_out, float(unassigned[~is_left_out].mean())]


def halved(counts: sparse.csr_matrix, rng: np.random.Generator) -> sparse.csr_matrix:
    """Return a random half of the counts, with at least one count of each cell."""
    half = counts.copy()
    half.data = rng.binomial(counts.data.astype(np.int64), 0.5).astype(np.float32)
    blank = np.flatnonzero(np.asarray(half.sum(axis=1)).ravel() == 0)
    half.data[counts.indptr[blank]] = 1
    half.eliminate_zeros()
    return half


def run(path: Path, seed: int, done: set[tuple]) -> Iterator[dict[str, object]]:
    """Leave each type of a set out in turn; yield who is unassigned."""
    full = anndata.read_h5ad(path)
    counts = sparse.csr_matrix(full.X, dtype=np.float32)
    types, rng = full.obs["cell_type"].astype(str).to_numpy(), np.random.default_rng(seed)
    in_reference = rng.random(full.n_obs) < SHARE
    for name, n_cells in pd.Series(types).value_counts().items():
        if n_cells < FEWEST or (path.stem, name, seed) in done:
            continue
        left_out = types == name
        old, new = in_reference & ~left_out, ~in_reference | left_out
        model = bgf.BGFormer(seed=seed, verbose=False)
        model.fit(anndata.AnnData(counts[old], var=full.var[[]]))
        row: dict[str, object] = {"set": path.stem, "type": name, "seed": seed, "cells": n_cells}
        for what, of in (("", counts[new]), (", half the counts", halved(counts[new], rng))):
            cells = anndata.AnnData(of, var=full.var[[]])
            found = shares(cells, model, left_out[new])
            row |= dict(zip((f"left out{what}", f"others{what}"), found, strict=True))
        print(row, flush=True)
        yield row


def run_batches(path: Path, seed: int, done: set[tuple]) -> Iterator[dict[str, object]]:
    """Predict each batch of a set from the others; yield how many cells are unassigned."""
    full = anndata.read_h5ad(path)
    counts, batches = sparse.csr_matrix(full.X, dtype=np.float32), full.obs["batch"].astype(str)
    for name, n_cells in batches.value_counts().items():
        if (path.stem, f"batch {name}", seed) in done:
            continue
        model, new = bgf.BGFormer(seed=seed, verbose=False), (batches == name).to_numpy()
        model.fit(anndata.AnnData(counts[~new], var=full.var[[]]))
        nobody = np.zeros(new.sum(), dtype=bool)
        _, false = shares(anndata.AnnData(counts[new], var=full.var[[]]), model, nobody)
        row = {"set": path.stem, "type": f"batch {name}", "seed": seed, "cells": n_cells}
        yield row | {"others": false}


def table(rows: pd.DataFrame) -> str:
    """Return the table of means over types, for the sets of the choice and for the test."""
    columns = ["sets", "types", "recognised", "of the type", "of the others"]
    lines = header(*columns, "of the type, half the counts", "of the others, half the counts")
    chosen, of_batches = rows["set"].isin(CHOSEN_ON), rows["type"].str.startswith("batch ")
    for title, some in (
        ("chosen on (in-sample)", rows[chosen]),
        ("test", rows[~chosen & ~of_batches]),
    ):
        for name, own in [*some.groupby("set"), (f"all: {title}", some)]:
            found, false = own["left out"], own["others"]
            good = ((found >= MOST_FOUND) & (false <= MOST_FALSE)).sum()
            means = own[["left out", "others", "left out, half the counts"]].mean()
            last = own["others, half the counts"].mean()
            shown = [f"{100 * value:.1f} %" for value in (*means, last)]
            lines.append(line(str(name), str(len(own)), f"{good} of {len(own)}", *shown))
    for name, own in rows[of_batches].groupby("set"):
        false = f"{100 * own['others'].mean():.1f} % ({100 * own['others'].max():.0f} % at most)"
        lines.append(line(f"{name}: other batches", str(len(own)), "", "", false, "", ""))
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--from-csv")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.from_csv:
        rows = pd.concat([pd.read_csv(file) for file in options.from_csv.split(",")])
    else:
        before = pd.read_csv(options.csv) if options.csv and options.csv.exists() else None
        keys = [] if before is None else before[["set", "type", "seed"]].to_numpy().tolist()
        done, found = {(str(a), str(b), int(c)) for a, b, c in keys}, []
        for path in labelled_sets(options.sets):
            of_set = run_batches if path.stem in SETS_WITH_BATCHES else run
            for seed in map(int, options.seeds.split(",")):
                for row in of_set(path, seed, done):
                    found.append(row)
                    if options.csv:
                        first = not options.csv.exists()
                        kept = pd.DataFrame([row]).reindex(columns=COLUMNS)
                        kept.to_csv(options.csv, mode="a", header=first, index=False)
        rows = pd.concat([part for part in (before, pd.DataFrame(found)) if part is not None])
    text = table(rows)
    print(text)
    if options.write:
        write("unassigned", text)


if __name__ == "__main__":
    main()
