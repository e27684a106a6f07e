"""Time a training step, and its parts.

    python benchmarks/step.py [--device cpu] [--steps 100]

Trains on pbmc4k_top2000 with the defaults, and prints a table of median milliseconds. Loading the
next minibatch runs in another thread and is not part of the step. BGFORMER_DATA must be set as in
accuracy.py.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import anndata
import numpy as np
import torch
from labelled import labelled_sets

from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.data.genes import select_genes
from bgformer.fit import trainer
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.minibatches import Minibatches
from bgformer.fit.optimizer import OneCycleAdam
from bgformer.fit.schedule import Objective, Schedule
from bgformer.fit.trainer import set_tokens, train
from bgformer.graph.anchors import choose_number
from bgformer.network import losses
from bgformer.network.network import Network
from bgformer.runtime.devices import pick_device
from bgformer.runtime.progress import Progress
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = {
    "encoding of both views": (Network, "encode"),
    "attention to anchors": (trainer, "attention"),
    "reconstruction from anchors": (Network, "reconstruct"),
    "ZINB and its derivatives": (losses, "zinb"),
    "other derivatives": (torch.autograd, "grad"),
    "optimizer": (OneCycleAdam, "step"),
    "loading of a minibatch, in another thread": (Minibatches, "load"),
}


class Clock(Progress):
    """Records the time at which each step ended."""

    def __init__(self, n_steps: int) -> None:
        super().__init__(n_steps, verbose=False)
        self.at = [time.perf_counter()]

    def update(self, step: int) -> None:
        """Record the time."""
        self.at.append(time.perf_counter())


def timed(function: Callable[..., object], spent: list[float]) -> Callable[..., object]:
    """Return a version of the function that records the seconds of each call."""

    @functools.wraps(function)
    def run(*args: object, **kwargs: object) -> object:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - start)

    return run


def milliseconds(spent: list[float]) -> float:
    """Return the median of the second half, in milliseconds."""
    return 1000 * float(np.median(spent[len(spent) // 2 :]))


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=100)
    chosen = parser.parse_args()
    (path,) = labelled_sets("pbmc4k_top2000")
    counts = checks.read_counts(anndata.AnnData(anndata.read_h5ad(path).X))
    batch = np.zeros(counts.shape[0], dtype=np.int64)
    data = with_size_factors(counts[:, select_genes(counts, 2000, batch)], batch)
    device = pick_device(chosen.device)
    n_anchors = choose_number(data.n_cells, "auto", "auto")
    with one_thread():
        network = network_for(data, n_batches=1, n_anchors=n_anchors, n_latent=32, seed=0)
        network.to(device)
        calibrate(network, data, 0)
        set_tokens(network, data, 0)
        spent: dict[str, list[float]] = defaultdict(list)
        for part, (owner, name) in PARTS.items():
            setattr(owner, name, timed(getattr(owner, name), spent[part]))
        clock = Clock(chosen.steps)
        train(
            network,
            data,
            objective=Objective(),
            schedule=Schedule(max_steps=chosen.steps),
            seed=0,
            progress=clock,
        )
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    print(f"{where} ({platform.machine()}), torch {torch.__version__}.\n")
    print("| part of a step | milliseconds |\n|---|---|")
    for part, seconds in spent.items():
        print(f"| {part} | {milliseconds(seconds):.1f} |")
    print(f"| the whole step | {milliseconds(list(np.diff(clock.at))):.1f} |")


if __name__ == "__main__":
    main()
