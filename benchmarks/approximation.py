"""Error and cost of attention over anchors, compared with attention over all cells.

    python benchmarks/approximation.py [--set pbmc3k] [--write]

A network is trained on one set with the defaults. In each head, some cells (queries) then average
scaled log counts by attention. The weights are a Gaussian of the distance with the bandwidth of
the query. The queries attend once to all cells and once to m anchors. Anchors are k-means centres
of the cells, and each holds the mean of the cells that attend to it. The error is the Frobenius
norm of the difference, divided by that of the result from all cells.

"All anchors" uses the same bandwidth as attention to all cells. "Weighted" also adds the logarithm
of the number of cells of each anchor to its logit. "Nearest 5" is what the network does: the five
nearest anchors of the head, with their mean distance as the bandwidth. "Best rank m" replaces the
attention matrix of each head by its SVD truncated to rank m, the best approximation of this rank.

Time and memory are measured with all cells as queries, for growing numbers of cells drawn with
replacement from the set. Seconds are CPU seconds, so that other work on the machine matters
little. Memory is the peak of tensors beyond those that existed before.

BGFORMER_DATA must be set as in accuracy.py. --write replaces the tables in docs/benchmarks.md and
the figure docs/images/approximation.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from accuracy import PAGE, write
from labelled import labelled_sets
from matplotlib import pyplot as plt
from torch.profiler import ProfilerActivity, profile

import bgformer as bgf
from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.fit.kmeans import kmeans_centres
from bgformer.network.heads import head_anchors, head_columns
from bgformer.network.network import NEIGHBOURS, attention
from bgformer.runtime.sparse_rows import SparseRows
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURE = PAGE.parent / "images" / "approximation.png"
QUERIES = 512
"""Number of cells whose attention is compared."""
ANCHORS = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Numbers of anchors per head; a single anchor, the mean cell, is the baseline."""
SEEDS = (0, 1, 2)
SIZES = (1000, 2000, 4000, 8000, 16_000, 32_000)
ANCHORS_TIMED = 512
READ = 32
"""Number of columns attended to when time and memory are measured."""
REPEATS = 3
ERRORS = {
    "nearest": f"nearest {NEIGHBOURS} anchors",
    "all": "all anchors",
    "weighted": "all anchors, weighted",
    "svd": "best rank m",
}
COSTS = {"cells": "all cells", "anchors": f"{ANCHORS_TIMED} anchors"}


class Head(NamedTuple):
    """One head of a trained network: its cells (n x d) and their bandwidths (n x 1)."""

    cells: torch.Tensor
    bandwidth: torch.Tensor


def trained(path: Path) -> tuple[list[Head], torch.Tensor]:
    """Train on a set; return both heads and the scaled log counts of the cells (n x g)."""
    adata = anndata.read_h5ad(path)
    model = bgf.BGFormer(seed=0, verbose=False, device="cpu").fit(adata)
    counts = checks.read_counts(adata)[:, adata.var_names.get_indexer(model.genes_)]
    data = with_size_factors(counts, np.zeros(adata.n_obs, dtype=np.int64))
    size_factors = torch.from_numpy(data.size_factors)[:, None]
    heads = []
    for columns, own in zip(
        head_columns(model.latent_.shape[1]), head_anchors(len(model.anchors_)), strict=True
    ):
        cells = torch.from_numpy(np.ascontiguousarray(model.latent_[:, columns]))
        distance = torch.cdist(cells, torch.from_numpy(model.anchors_[own, columns]))
        nearest = distance.topk(NEIGHBOURS, largest=False).values
        heads.append(Head(cells, nearest.mean(1, keepdim=True)))
    seen = SparseRows.on_device(data.counts, torch.device("cpu"))
    return heads, model.network_.standardised(seen, size_factors).dense()


def weights(
    queries: Head, others: torch.Tensor, sizes: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the attention weights of the queries on all others, queries x others."""
    logits = -torch.cdist(queries.cells, others).square() / (2 * queries.bandwidth.square())
    return torch.softmax(logits if sizes is None else logits + sizes.log(), dim=-1)


def nearest_weights(cells: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return the network's attention weights of cells on anchors, as a dense matrix."""
    nearest, found = attention(cells, anchors)
    return torch.zeros(len(cells), len(anchors)).scatter(1, nearest, found)


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the relative error in the Frobenius norm."""
    return (torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted)).item()


def errors(heads: list[Head], values: torch.Tensor) -> tuple[pd.DataFrame, float]:
    """Return the errors for each m (mean over heads, median over seeds) and the cells attended to.

    The number of cells that a cell attends to is the exponential of the entropy of its weights,
    averaged over queries and heads.
    """
    rows = np.random.default_rng(0).permutation(len(values))[:QUERIES]
    found, attended = [], []
    for number, head in enumerate(heads):
        queries = Head(head.cells[rows], head.bandwidth[rows])
        full = weights(queries, head.cells)
        attended.append(torch.special.entr(full).sum(-1).exp().mean().item())
        wanted = full @ values
        u, s, vh = torch.linalg.svd(full, full_matrices=False)
        for m in ANCHORS:
            cut = off((u[:, :m] * s[:m]) @ (vh[:m] @ values), wanted)
            for seed in SEEDS:
                anchors = torch.from_numpy(kmeans_centres(head.cells.numpy(), m, seed))
                share = nearest_weights(head.cells, anchors)
                sizes = share.sum(0).clamp_min(1e-12)
                held = (share.T @ values) / sizes[:, None]
                read = {
                    "nearest": share[rows] @ held,
                    "all": weights(queries, anchors) @ held,
                    "weighted": weights(queries, anchors, sizes) @ held,
                }
                errors = {name: off(x, wanted) for name, x in read.items()} | {"svd": cut}
                found.append({"m": m, "head": number, "seed": seed} | errors)
    over_heads = pd.DataFrame(found).groupby(["m", "seed"])[list(ERRORS)].mean()
    return over_heads.groupby("m").median(), float(np.mean(attended))


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the peak bytes in tensors during a call, beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        call()
    with tempfile.TemporaryDirectory() as folder:
        watch.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    changes = [event for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda event: event["ts"])
    return int(np.cumsum([change["args"]["Bytes"] for change in changes]).max())


def fits(n: int) -> bool:
    """Return whether attention of all cells to all fits into memory: three n x n matrices."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 1.3 * 3 * n**2 * 4 < free


def costs(head: Head, values: torch.Tensor) -> pd.DataFrame:
    """Return CPU seconds (minimum over runs) and peak bytes for every number of cells."""
    rng = np.random.default_rng(0)
    anchors = torch.from_numpy(kmeans_centres(head.cells.numpy(), ANCHORS_TIMED, 0))
    held = values[:ANCHORS_TIMED, :READ]  # the values do not affect the time

    def from_anchors(cells: Head, _: torch.Tensor) -> torch.Tensor:
        nearest, share = attention(cells.cells, anchors)
        return torch.einsum("bk,bkg->bg", share, held[nearest])

    def from_cells(cells: Head, read: torch.Tensor) -> torch.Tensor:
        return weights(cells, cells.cells) @ read

    found = []
    for n in SIZES:
        rows = rng.integers(len(head.cells), size=n)
        drawn, read = Head(head.cells[rows], head.bandwidth[rows]), values[rows, :READ]
        for name, call in (("cells", from_cells), ("anchors", from_anchors)):
            if name == "cells" and not fits(n):
                continue
            seconds = []
            for _ in range(REPEATS):
                started = time.process_time()
                call(drawn, read)
                seconds.append(time.process_time() - started)
            peak = peak_bytes(lambda call=call, drawn=drawn, read=read: call(drawn, read))
            found.append({"n": n, "over": name, "seconds": min(seconds), "bytes": peak})
            print(*found[-1].values(), flush=True)
    return pd.DataFrame(found).pivot(index="n", columns="over", values=["seconds", "bytes"])


def exponent(values: pd.Series) -> float:
    """Return the slope of log values against log n."""
    values = values.dropna()
    return float(np.polyfit(np.log(values.index), np.log(values), 1)[0])


def cost(what: str, value: float) -> str:
    """Format seconds, or bytes as MB, for the table."""
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" if what == "seconds" else f"{value / 1e6:,.0f}"


def tables(by_m: pd.DataFrame, by_n: pd.DataFrame) -> str:
    """Return both tables as markdown."""
    lines = [f"| m | {' | '.join(ERRORS.values())} |", "|---" * (1 + len(ERRORS)) + "|"]
    for m, row in by_m.iterrows():
        # errors below 1e-5 are rounding errors of float32
        cells = (f"{100 * e:.3g} %" if e >= 1e-5 else "0" for e in row[list(ERRORS)])
        lines.append(f"| {m} | {' | '.join(cells)} |")
    columns = [(what, over) for over in COSTS for what in ("seconds", "bytes")]
    names = [f"{COSTS[over]}: {'MB' if what == 'bytes' else what}" for what, over in columns]
    lines += ["", f"| n | {' | '.join(names)} |", "|---" * (1 + len(columns)) + "|"]
    for n, row in by_n.iterrows():
        shown = (cost(what, row[what, over]) for what, over in columns)
        lines.append(f"| {n:,} | {' | '.join(shown)} |")
    slopes = (f"{exponent(by_n[column]):.2f}" for column in columns)
    return "\n".join([*lines, f"| exponent of n | {' | '.join(slopes)} |"])


def draw(by_m: pd.DataFrame, by_n: pd.DataFrame, name: str) -> None:
    """Save the figure: error against m, time against n, memory against n."""
    mpl.use("agg")
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for column, label in ERRORS.items():
        seen = by_m[column][by_m[column] >= 1e-5]
        axes[0].plot(seen.index, 100 * seen, marker="o", label=label)
    axes[0].set(xlabel="anchors m", ylabel="relative error, %", title=f"error, {name}")
    for axis, what, unit in ((axes[1], "seconds", 1), (axes[2], "bytes", 1e6)):
        for over, label in COSTS.items():
            values = by_n[what, over].dropna()
            slope = f"{label}: n^{exponent(values):.2f}"
            axis.plot(values.index, values / unit, marker="o", label=slope)
        axis.set(xlabel="cells n")
    axes[1].set(ylabel="CPU seconds", title="time")
    axes[2].set(ylabel="MB", title="peak memory")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig(FIGURE, dpi=150)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="pbmc3k", help="name of the set")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md, figure")
    chosen = parser.parse_args()
    (path,) = labelled_sets(chosen.set)
    heads, values = trained(path)
    with torch.no_grad(), one_thread():
        by_m, attended = errors(heads, values)
        by_n = costs(heads[0], values)
    text = (
        f"bgformer {bgf.__version__}, {path.stem}: {len(values)} cells, of which a cell attends "
        f"to {attended:.0f} (exponential of the entropy, mean over both heads); one thread of "
        f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}.\n\n"
        f"{tables(by_m, by_n)}"
    )
    print(text)
    if chosen.write:
        write("approximation", text)
        draw(by_m, by_n, path.stem)


if __name__ == "__main__":
    main()
