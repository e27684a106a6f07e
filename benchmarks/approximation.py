"""Whether attention over anchors can stand in for attention over all cells, and what each costs.

    python benchmarks/approximation.py [--set pbmc3k] [--write]

A network is trained on one set with the defaults. Then some of its cells, as queries, read through
its own attention (softmax(Q K^T / sqrt(d)) V per head) once from all cells and once from m
anchors, which are k-means centres of the cells. Error: the Frobenius norm of the difference over
that of what all cells give. "Weighted" anchors have the logarithm of the number of cells that they
stand for added to their logits. "Best rank m" puts the SVD of each head's attention matrix, cut
after m, in the matrix's place: no approximation of rank m is nearer to the matrix.

Time and memory are those of every cell reading, as the number of cells (drawn again from the set)
grows. Seconds are of one processor core, so that other work on the machine counts little; memory
is the most that tensors take at any moment beyond what was there before.

The set is found as in accuracy.py. With --write the tables in docs/benchmarks.md and the figure
docs/images/approximation.png are replaced.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from accuracy import PAGE, labelled_sets, write
from matplotlib import pyplot as plt
from sklearn.metrics import pairwise_distances_argmin
from torch.profiler import ProfilerActivity, profile

import bgformer as bgf
from bgformer import counts as count_matrix
from bgformer.codebook import kmeans_centres
from bgformer.devices import dense, one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgformer.network import BipartiteAttention

FIGURE = PAGE.parent / "images" / "approximation.png"
QUERIES = 512
"""Cells whose attention is compared."""
ANCHORS = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Numbers of anchors; one anchor, the mean cell, is what a reader can compare the others with."""
SEEDS = (0, 1, 2)
SIZES = (1000, 2000, 4000, 8000, 16_000, 32_000)
ANCHORS_TIMED = 256
REPEATS = 3
ERRORS = {"plain": "anchors", "weighted": "anchors, weighted", "svd": "best rank m"}
COSTS = {"cells": "all cells", "anchors": f"{ANCHORS_TIMED} anchors"}


def trained(path: Path) -> tuple[BipartiteAttention, torch.Tensor]:
    """Train on a set and return the attention and its cells before they read (n x d)."""
    adata = anndata.read_h5ad(path)
    model = bgf.BGFormer(seed=0, verbose=False, device="cpu").fit(adata)
    counts = count_matrix.read_counts(adata)[:, adata.var_names.get_indexer(model.genes_)]
    data = count_matrix.with_size_factors(counts, np.zeros(adata.n_obs, dtype=np.int64))
    network = model.network_
    counts = dense(data.counts, network.anchors.device)
    size_factors = torch.from_numpy(data.size_factors)[:, None].to(counts.device)
    with torch.no_grad():
        return network.attention, network.encode(counts, size_factors).query


class Heads:
    """The trained attention by head, with what `BipartiteAttention` does not hand out."""

    def __init__(self, attention: BipartiteAttention) -> None:
        self.attention = attention

    def _cut(self, x: torch.Tensor) -> torch.Tensor:
        """Cut rows x d into heads x rows x d/heads."""
        return x.view(len(x), self.attention.n_heads, -1).transpose(0, 1)

    def weights(
        self, cells: torch.Tensor, others: torch.Tensor, sizes: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return how the cells attend to the others, heads x cells x others."""
        query = self._cut(self.attention.query(self.attention.cell_norm(cells)))
        key = self._cut(self.attention.key(self.attention.anchor_norm(others)))
        logits = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
        return torch.softmax(logits if sizes is None else logits + sizes.log(), dim=-1)

    def values(self, others: torch.Tensor) -> torch.Tensor:
        """Return what there is to read from the others, heads x others x d/heads."""
        return self._cut(self.attention.value(self.attention.anchor_norm(others)))


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the relative error in the Frobenius norm."""
    return (torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted)).item()


def errors(heads: Heads, cells: torch.Tensor) -> tuple[pd.DataFrame, float]:
    """Return the errors for each m, medians over the seeds, and the cells that a cell attends to.

    The latter is the exponential of the entropy of a cell's weights, on average.
    """
    rows = np.random.default_rng(0).permutation(len(cells))[:QUERIES]
    queries, values = cells[rows], heads.values(cells)
    full = heads.weights(queries, cells)
    wanted = full @ values
    u, s, vh = torch.linalg.svd(full, full_matrices=False)
    found = []
    for m in ANCHORS:
        cut = (u[..., :m] * s[:, None, :m]) @ (vh[:, :m] @ values)
        for seed in SEEDS:
            centres = kmeans_centres(cells.numpy(), m, seed)
            nearest = pairwise_distances_argmin(cells.numpy(), centres)
            sizes = torch.from_numpy(np.bincount(nearest, minlength=m)).float()
            anchors = torch.from_numpy(centres)
            read = {
                "plain": heads.weights(queries, anchors) @ heads.values(anchors),
                "weighted": heads.weights(queries, anchors, sizes) @ heads.values(anchors),
                "svd": cut,
            }
            found.append({"m": m} | {name: off(x, wanted) for name, x in read.items()})
    attended = torch.special.entr(full).sum(-1).exp().mean().item()
    return pd.DataFrame(found).groupby("m").median(), attended


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the most bytes in tensors at any moment of a call, beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        call()
    with tempfile.TemporaryDirectory() as folder:
        watch.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    changes = [event for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda event: event["ts"])
    return int(np.cumsum([change["args"]["Bytes"] for change in changes]).max())


def fits(n: int, n_heads: int) -> bool:
    """Tell whether all cells can attend to all: two heads x n x n matrices and some room."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 1.3 * 2 * n_heads * n**2 * 4 < free


def costs(attention: BipartiteAttention, cells: torch.Tensor) -> pd.DataFrame:
    """Return CPU seconds (the least of some runs) and bytes for every number of cells."""
    rng = np.random.default_rng(0)
    anchors = torch.from_numpy(kmeans_centres(cells.numpy(), ANCHORS_TIMED, 0))
    found = []
    for n in SIZES:
        drawn = cells[rng.integers(len(cells), size=n)]
        for name, others in (("cells", drawn), ("anchors", anchors)):
            if name == "cells" and not fits(n, attention.n_heads):
                continue
            seconds = []
            for _ in range(REPEATS):
                started = time.process_time()
                attention(drawn, others)
                seconds.append(time.process_time() - started)
            peak = peak_bytes(lambda drawn=drawn, others=others: attention(drawn, others))
            found.append({"n": n, "over": name, "seconds": min(seconds), "bytes": peak})
            print(*found[-1].values(), flush=True)
    return pd.DataFrame(found).pivot(index="n", columns="over", values=["seconds", "bytes"])


def exponent(values: pd.Series) -> float:
    """Return the slope of a line through the logarithms of values over n."""
    values = values.dropna()
    return float(np.polyfit(np.log(values.index), np.log(values), 1)[0])


def cost(what: str, value: float) -> str:
    """Return seconds or bytes (as MB) for the table."""
    if np.isnan(value):
        return "–"
    return f"{value:.3f}" if what == "seconds" else f"{value / 1e6:,.0f}"


def tables(by_m: pd.DataFrame, by_n: pd.DataFrame) -> str:
    """Return both tables in markdown."""
    lines = [f"| m | {' | '.join(ERRORS.values())} |", "|---" * (1 + len(ERRORS)) + "|"]
    for m, row in by_m.iterrows():
        # Below a hundred-thousandth stand the roundings of float32.
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
    """Write the figure: error over m, time over n, memory over n."""
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
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, figure")
    chosen = parser.parse_args()
    (path,) = labelled_sets(chosen.set)
    attention, cells = trained(path)
    with torch.no_grad(), one_thread():
        by_m, attended = errors(Heads(attention), cells)
        by_n = costs(attention, cells)
    text = (
        f"bgformer {bgf.__version__}, {path.stem}: {len(cells)} cells, of which a cell attends to "
        f"{attended:.0f} (exponential of the entropy, mean); one thread of {os.cpu_count()} cores "
        f"({platform.machine()}), torch {torch.__version__}.\n\n{tables(by_m, by_n)}"
    )
    print(text)
    if chosen.write:
        write("approximation", text)
        draw(by_m, by_n, path.stem)


if __name__ == "__main__":
    main()
