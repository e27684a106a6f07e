"""Time and memory by number of cells, in memory and on disk, and by number of anchors.

    python benchmarks/scale.py [--sizes 100000,10000000] [--anchors 64,1024] [--write]

Cells are resampled from a labelled set (resampled.py), and every run is a separate process
(timed_run.py). "in memory" times `bgf.tl.cluster` without reading the file. "on disk" times the
whole command `bgformer cluster`, and "on disk, 2 processes" the same under torchrun. The last
column compares the clusters with those found in memory for the same cells. Above --most cells,
which memory has no room for, only "on disk" is timed. The exponent is the slope of log seconds
against log cells. --write replaces the table and the figure in docs. Data as in accuracy.py.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from accuracy import ROOT, write
from sklearn.metrics import adjusted_rand_score
from speed import data_file, machine, timed

mpl.use("agg")
import matplotlib.pyplot as plt

PICTURE = ROOT / "docs" / "images" / "scale.png"
METHODS = {"ours": "in memory", "command": "on disk", "torchrun": "on disk, 2 processes"}


def exponent(runs: list[dict]) -> float:
    """Return the slope of log seconds against log cells."""
    cells, seconds = ([run[name] for run in runs] for name in ("cells", "seconds"))
    return float(np.polyfit(np.log(cells), np.log(seconds), 1)[0])


def table(runs: list[dict]) -> str:
    """Return a markdown table with a row for each run."""
    lines = [
        "| cells | where | anchors | seconds | cells a second | recluster | peak MB | matrix MB "
        "| ARI | ARI with in memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run['cells']:,} | {METHODS[run['method']]} | {run['anchors'] or 'auto'} "
            f"| {run['seconds']:.1f} | {run['cells'] / run['seconds']:,.0f} "
            f"| {run['stages'].get('recluster', '')} | {run['peak MB']:,} | {run['matrix MB']:,} "
            f"| {run['ARI']:.3f} | {run.get('agreement', '')} |"
        )
    return "\n".join(lines)


def draw(runs: list[dict]) -> None:
    """Draw seconds against cells."""
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for method, where in METHODS.items():
        points = [(r["cells"], r["seconds"]) for r in runs if r["method"] == method]
        axes.loglog(*zip(*points, strict=True), marker="o", label=where)
    axes.set(xlabel="cells", ylabel="seconds")
    axes.legend()
    figure.savefig(PICTURE, dpi=150)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="100000,300000,1000000,3000000,10000000")
    parser.add_argument("--anchors", default="64,1024", help="added at the first size")
    parser.add_argument("--most", type=int, default=3_000_000)
    parser.add_argument("--folder", type=Path, help="keep the resampled cells here")
    parser.add_argument("--write", action="store_true", help="update docs")
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        files = [data_file(n, chosen.folder or Path(scratch)) for n in sizes]
        runs, labels = [], Path(scratch, "labels.npy")
        for n_cells, file in zip(sizes, files, strict=True):
            in_memory = None
            for method in METHODS if n_cells <= chosen.most else ("command",):
                run = timed(method, file, "--labels", str(labels)) | {"anchors": 0}
                if method == "ours":
                    in_memory = np.load(labels)
                elif in_memory is not None:
                    agreement = adjusted_rand_score(in_memory, np.load(labels))
                    run["agreement"] = round(agreement, 3)
                runs.append(run)
        more = [
            timed("ours", files[0], "--anchors", m) | {"anchors": int(m)}
            for m in chosen.anchors.split(",")
            if m
        ]
    slopes = ", ".join(
        f"{METHODS[method]} {exponent([run for run in runs if run['method'] == method]):.2f}"
        for method in METHODS
    )
    text = f"{machine()}. Exponent of seconds over cells: {slopes}.\n\n{table(runs + more)}"
    print(text)
    if chosen.write:
        draw(runs)
        write("scale", text)


if __name__ == "__main__":
    main()
