"""Time and memory of bgformer, scanpy and other methods, on cells resampled from a labelled set.

    python benchmarks/speed.py [--sizes 4271,100000,1000000] [--repeats 3] [--write]

Every run is a separate process (timed_run.py), the methods in turn, and the table shows medians.
The smallest size is the real set, timed at the second call in a process, so that nothing is
compiled. Larger sets are resampled from it (resampled.py). scanpy is left out above --scanpy-most
cells. Others, --peers, run once at the sizes up to --peers-most.
--write replaces the table in docs/benchmarks.md. Data and peers as in accuracy.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from accuracy import write
from labelled import labelled_sets
from resampled import write_resampled

SET = "pbmc4k_top2000"
REAL = 4271
"""Number of its cells."""
RUN = Path(__file__).with_name("timed_run.py")


def timed(method: str, file: Path, *options: str) -> dict:
    """Run timed_run.py in a new process, and return what it prints."""
    command = [sys.executable, str(RUN), method, str(file), *options]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    print(json.dumps(found), flush=True)
    return found


def medians(runs: list[dict]) -> dict:
    """Return the medians of runs of one method on one file."""
    return {
        "seconds": median(run["seconds"] for run in runs),
        "peak MB": median(run["peak MB"] for run in runs),
        "ARI": median(run["ARI"] for run in runs),
        "types": median(run["types"] for run in runs),
        "clusters": median(run["clusters"] for run in runs),
        "matrix MB": runs[0]["matrix MB"],
        "stages": {
            stage: median(run["stages"][stage] for run in runs) for stage in runs[0]["stages"]
        },
    }


def data_file(n_cells: int, folder: Path) -> Path:
    """Return a file with `n_cells` cells: the real set, or one resampled from it."""
    source = labelled_sets(SET)[0]
    target = folder / f"{SET}-{n_cells}.h5ad"
    if n_cells == REAL:
        return source
    if not target.exists():
        write_resampled(source, n_cells, target)
    return target


def machine() -> str:
    """Describe the machine on which the times were measured."""
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"


def table(results: dict[tuple[int, str], dict]) -> str:
    """Return a markdown table with a row for each size and method."""
    lines = [
        "| cells | method | seconds | of these | peak MB | matrix MB | ARI | types | clusters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (n_cells, method), run in results.items():
        stages = ", ".join(f"{name} {spent:.1f}" for name, spent in run["stages"].items())
        lines.append(
            f"| {n_cells:,} | {method} | {run['seconds']:.1f} | {stages} "
            f"| {run['peak MB']:,.0f} | {run['matrix MB']:,} "
            f"| {run['ARI']:.3f} | {run['types']:.0f} | {run['clusters']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="4271,100000,1000000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scanpy-most", type=int, default=100_000)
    parser.add_argument("--peers", default="seurat,secuer,parc")
    parser.add_argument("--peers-most", type=int, default=REAL)
    parser.add_argument("--folder", type=Path, help="keep the resampled cells here")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    chosen = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        for n_cells in map(int, chosen.sizes.split(",")):
            file = data_file(n_cells, folder)
            methods = ["ours", "scanpy"] if n_cells <= chosen.scanpy_most else ["ours"]
            options = ["--calls", "2"] if n_cells == REAL else []
            runs: dict[str, list[dict]] = {method: [] for method in methods}
            for _ in range(chosen.repeats):
                for method in methods:
                    runs[method].append(timed(method, file, *options))
            if n_cells <= chosen.peers_most:
                for peer in filter(None, chosen.peers.split(",")):
                    runs[peer] = [timed(peer, file, *options)]
            results |= {(n_cells, method): medians(found) for method, found in runs.items()}
    text = f"{machine()}; medians of {chosen.repeats}, other peers once.\n\n{table(results)}"
    print(text)
    if chosen.write:
        write("speed", text)


if __name__ == "__main__":
    main()
