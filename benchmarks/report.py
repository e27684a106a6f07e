"""Seconds and size of a report, and how fast it is in a browser.

    python benchmarks/report.py [--sizes 700,100000] [--folder FOLDER] [--write]

700 cells are those of the demo; others are those of speed.py. The cells are clustered, and the
report is written twice: the first call also computes the UMAP. Then Debian's Chromium opens it,
without a graphics card: "opened" is the time until all is drawn, and "slider" is the largest of
six moves, until the cells have their new colours and until all charts are drawn. Needs the
dependency group "browser". --write replaces the table in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import anndata
from accuracy import ROOT, write
from playwright.sync_api import sync_playwright
from speed import data_file, machine

import bgformer as bgf

ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
STOPS = [3, 10, 20, 29, 5, 15]
MOVE = """async (at) => {
  const start = performance.now();
  const cells = new Promise((done) => {
    page.embedding.plot.subscribe("draw", () => done(performance.now() - start), 1);
  });
  const rest = page.moveTo(at);
  const coloured = await cells;
  await rest;
  return [coloured, performance.now() - start];
}"""


def cells_of(n_cells: int, folder: Path) -> anndata.AnnData:
    """Return clustered cells."""
    if n_cells == 700:
        sys.path.insert(0, str(ROOT / "demo"))
        from pbmc700 import load_pbmc700

        cells = load_pbmc700()
    else:
        cells = anndata.read_h5ad(data_file(n_cells, folder))
    bgf.tl.cluster(cells, verbose=False)
    return cells


def written(cells: anndata.AnnData, path: Path) -> float:
    """Return the seconds that the report takes."""
    start = time.perf_counter()
    bgf.report(cells, path)
    return time.perf_counter() - start


def in_browser(path: Path) -> tuple[float, float, float]:
    """Return seconds to open, and the largest milliseconds of a move until cells and all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        opened = time.perf_counter() - start
        moves = []
        for at in STOPS:
            moves.append(page.evaluate(MOVE, at))
            page.wait_for_timeout(500)
        browser.close()
    return opened, *map(max, zip(*moves, strict=True))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="700,100000")
    parser.add_argument("--folder", type=Path, help="keep the resampled cells here")
    parser.add_argument("--write", action="store_true", help="update docs")
    chosen = parser.parse_args()
    lines = [
        "| cells | first report, s | second report, s | MB | opened, s | slider: cells, ms "
        "| slider: all, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "report.html")
        for size in chosen.sizes.split(","):
            cells = cells_of(int(size), chosen.folder or Path(scratch))
            first, second = written(cells, path), written(cells, path)
            opened, coloured, everything = in_browser(path)
            lines.append(
                f"| {int(size):,} | {first:.1f} | {second:.1f} | {path.stat().st_size / 1e6:.1f} "
                f"| {opened:.1f} | {coloured:.0f} | {everything:.0f} |"
            )
            print(lines[-1], flush=True)
    if chosen.write:
        write("report", f"bgformer {bgf.__version__}; {machine()}.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
