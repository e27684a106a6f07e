"""Estimate the seconds on machines that we do not have, from what each part takes here.

    python benchmarks/estimate.py [--size 1000000] [--folder FOLDER] [--write]

Measures, on one thread, what a cell on disk costs: to read, to check, to place, and to write. All
else is what a run takes whatever the number of cells, and is measured in memory. --write replaces
the table in docs/benchmarks.md. Data as in accuracy.py; the cells are resampled as in speed.py.

Assumptions, of which none has been measured:

- A GPU places a cell in the time that its arithmetic takes at a tenth of its peak (H100: 67
  TFLOP/s in single precision), or that its counts take to get there (PCIe: 25 GB/s).
- Each process has a disk as fast as this one, and reads and checks on a core like ours.
- The first process writes everything, and gets latent and weights of the others by 10 Gbit/s.
- Training and the anchors take as long as here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
from accuracy import write
from speed import data_file, machine

import bgformer as bgf
from bgformer.data.checks import Check
from bgformer.data.counts import with_size_factors
from bgformer.data.source import opened, source_of
from bgformer.fit.embedding import embed
from bgformer.network.anchor_weights import anchor_weights
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy import sparse

H100, PCIE, NETWORK = 67e12 / 10, 25e9, 10e9 / 8
"""Operations and bytes in a second."""
RESULT = 32 * 4 + 10 * (8 + 4)
"""Bytes of a cell's latent and weights."""
SIZES = (1_000_000, 10_000_000, 100_000_000)


def costs(file: Path, folder: Path) -> dict[str, float]:
    """Return the seconds of each part for a cell, and those of all else."""
    some = anndata.read_h5ad(file, backed="r")[:50_000].to_memory()
    start = time.perf_counter()
    model = bgf.BGFormer(verbose=False).fit(some)
    found = {"fixed": time.perf_counter() - start}
    genes = np.flatnonzero(some.var_names.isin(model.genes_))
    median = float(np.median(np.asarray(some.X[:, genes].sum(axis=1))))
    spent = dict.fromkeys(("read", "check", "place", "write"), 0.0)

    def timed(part: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        spent[part] += time.perf_counter() - start

    def place(counts: sparse.csr_matrix) -> None:
        batch = np.zeros(counts.shape[0], dtype=int)
        latent = embed(model.network_, with_size_factors(counts[:, genes], batch, median))
        anchor_weights(latent, model.anchors_)

    n_values = 0
    with one_thread(), opened(file) as cells:
        source, check = source_of(cells), Check(cells, None)
        source.check = None
        timed("read", lambda: deque(source.blocks(), maxlen=0))
        for first, counts in source.blocks():
            timed("check", partial(check.block, first, counts))
            timed("place", partial(place, counts))
            n_values += counts.nnz
        n_cells = cells.n_obs
    timed("write", lambda: copy_to_disk(file, folder / "copy.h5ad"))
    found |= {part: seconds / n_cells for part, seconds in spent.items()}
    return found | {"values": n_values / n_cells}


def copy_to_disk(source: Path, target: Path) -> None:
    """Copy a file, and wait until the disk has it."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def operations(values: float, n_anchors: int) -> float:
    """Return the operations that place a cell with so many counts: first layer, distances."""
    return 2 * values * (20 + 12 + 128) + 2 * 128 * 12 + 2 * n_anchors / 2 * (20 + 12)


def table(cost: dict[str, float]) -> str:
    """Return a markdown table of the seconds for each machine and number of cells."""
    gpu = max(operations(cost["values"], 1024) / H100, 8 * cost["values"] / PCIE)
    sent = RESULT / NETWORK
    checked = max(cost["read"], cost["check"])
    each = {
        "2 cores": checked + (cost["read"] + cost["place"]) / 2 + cost["write"],
        "one H100": checked + max(cost["read"], gpu) + cost["write"],
        "8 H100 in two machines": (checked + max(cost["read"], gpu)) / 8
        + max(cost["write"], sent / 2),
    }
    rows = [
        f"| {name} | " + " | ".join(f"{cost['fixed'] + n * cell:,.0f}" for n in SIZES) + " |"
        for name, cell in each.items()
    ]
    sizes = " | ".join(f"{n:,} cells" for n in SIZES)
    return "\n".join([f"| | {sizes} |", "|---" * (len(SIZES) + 1) + "|", *rows])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the resampled cells here")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = data_file(chosen.size, chosen.folder or Path(scratch))
        cost = costs(file, Path(scratch))
    parts = ", ".join(
        f"{part} {1e6 * cost[part]:.1f}" for part in ("read", "check", "place", "write")
    )
    text = (
        f"{machine()}. Microseconds for a cell with {cost['values']:.0f} counts: {parts}. "
        f"All else: {cost['fixed']:.1f} s.\n\n{table(cost)}"
    )
    print(text)
    if chosen.write:
        write("estimate", text)


if __name__ == "__main__":
    main()
