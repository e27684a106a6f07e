"""Time a training step: in float32, compiled by torch, and in bfloat16.

    python benchmarks/step.py [--device cpu] [--steps 100]

Trains on pbmc4k_top2000 with the defaults on one thread, and prints a table. The network runs
unchanged, compiled (which needs a C++ compiler on a CPU), and in bfloat16 by torch's autocast.
BGFORMER_DATA must be set as in accuracy.py.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import torch
from labelled import labelled_sets

from bgformer.data import checks
from bgformer.data.counts import with_size_factors
from bgformer.data.genes import select_genes
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.fit.trainer import Objective, Schedule, set_tokens, train
from bgformer.graph.anchors import choose_number
from bgformer.runtime.devices import one_thread, pick_device
from bgformer.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgformer.network.network import Network

HOW = ("as it is", "compiled", "bfloat16")


class Clock(Progress):
    """Records the time at which each step ended."""

    def __init__(self, n_steps: int) -> None:
        super().__init__(n_steps, verbose=False)
        self.at = [time.perf_counter()]

    def update(self, step: int, loss: float) -> None:
        """Record the time."""
        self.at.append(time.perf_counter())


def half(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """Return a version of the function that computes in bfloat16 and returns float32."""

    def in_half(*given: Any) -> Any:
        with torch.autocast(device, dtype=torch.bfloat16):
            found = function(*given)
        if isinstance(found, torch.Tensor):
            return found.float()
        return type(found)(*(part.float() for part in found))

    return in_half


def changed(network: Network, how: str) -> None:
    """Replace the network's encoder and reconstruction by a compiled or bfloat16 version."""
    for name in ("encode", "reconstruct") if how != HOW[0] else ():
        before, device = getattr(network, name), network.anchors.device.type
        after = torch.compile(before) if how == "compiled" else half(before, device)
        setattr(network, name, after)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=100)
    chosen = parser.parse_args()
    (path,) = labelled_sets("pbmc4k_top2000")
    counts = checks.read_counts(anndata.AnnData(anndata.read_h5ad(path).X))
    batch = np.zeros(counts.shape[0], dtype=np.int64)
    data = with_size_factors(counts[:, select_genes(counts, 2000, batch)], batch)
    device = pick_device(chosen.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    lines = [
        f"{where} ({platform.machine()}), one thread, torch {torch.__version__}.",
        "",
        f"| network | milliseconds a step | seconds for {chosen.steps} steps | loss |",
        "|---|---|---|---|",
    ]
    for how in HOW:
        with one_thread():
            n_anchors = choose_number(data.n_cells, "auto", "auto")
            network = network_for(data, n_batches=1, n_anchors=n_anchors, n_latent=32, seed=0)
            network.to(device)
            calibrate(network, data, 0)
            set_tokens(network, data, 0)
            changed(network, how)
            clock = Clock(chosen.steps)
            history = train(
                network,
                data,
                objective=Objective(),
                schedule=Schedule(max_steps=chosen.steps),
                seed=0,
                progress=clock,
            )
        last = np.diff(clock.at)[chosen.steps // 2 :]
        lines.append(
            f"| {how} | {1000 * np.median(last):.0f} | {clock.at[-1] - clock.at[0]:.1f} "
            f"| {history['loss'][-10:].mean():.4f} |"
        )
        print(lines[-1], flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
