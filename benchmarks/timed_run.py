"""Time one run in a separate process, so that peak memory belongs to this run.

    python benchmarks/timed_run.py METHOD FILE.h5ad [--calls 2] [--anchors M] [--labels FILE.npy]

METHOD is "ours", "backed" (the same on a backed AnnData), "command" (`bgformer cluster`, which
reads the file in blocks), "torchrun" (the same in two processes), "scanpy" (normalise, log, 2000
genes, 50 PCs, 15 neighbours, Leiden with the options that scanpy recommends, without scaling), or
another of the methods of accuracy.py.
Prints one line of JSON for the last call: seconds, seconds of each stage, ARI against
``obs["cell_type"]``, number of types found and of clusters, megabytes of the matrix, and peak
megabytes of the process. For methods in Python, imports and reading are not timed. For "command"
and "torchrun", imports, reading and writing are timed, and the peak is that of the largest
process. "recluster" is a separate call after the timed one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
from scores import against_labels

import bgformer

if TYPE_CHECKING:
    from collections.abc import Callable

Stages = dict[str, float]
STAGES = {
    "training": (
        "source_of",
        "Sample",
        "network_for",
        "calibrate",
        "set_tokens",
        "train",
        "centres",
        "profiles",
    ),
    "fitting": ("_placed", "anchor_links", "partition", "Fitted"),
}
"""Functions that these modules of `pipeline` call, in their order."""


def ours(adata: anndata.AnnData, n_anchors: int | str) -> tuple[np.ndarray, Stages]:
    """Cluster with bgformer at its defaults, and time the stages of the fit."""
    stages: Stages = {}
    modules = {name: importlib.import_module(f"bgformer.pipeline.{name}") for name in STAGES}
    originals = [
        (modules[module], name, getattr(modules[module], name))
        for module, names in STAGES.items()
        for name in names
    ]
    for module, name, function in originals:
        setattr(module, name, _timed(function, stages))
    try:
        bgformer.tl.cluster(adata, n_anchors=n_anchors, verbose=False)
    finally:
        for module, name, function in originals:
            setattr(module, name, function)
    return adata.obs["bgformer"].to_numpy(), stages


def _timed(function: Callable[..., object], stages: Stages) -> Callable[..., object]:
    """Return a version of the function that adds its seconds to its stage."""

    def run(*args: object, **kwargs: object) -> object:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent = time.perf_counter() - start
            stages[function.__name__] = stages.get(function.__name__, 0) + spent

    return run


def scanpy(adata: anndata.AnnData) -> tuple[np.ndarray, Stages]:
    """Cluster with scanpy."""
    import scanpy as sc

    def pca(adata: anndata.AnnData) -> None:
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=min(2000, adata.n_vars))
        sc.pp.pca(adata, random_state=0)

    def leiden(adata: anndata.AnnData) -> None:
        sc.tl.leiden(adata, random_state=0, flavor="igraph", n_iterations=2, directed=False)

    stages: Stages = {}
    _timed(pca, stages)(adata)
    _timed(sc.pp.neighbors, stages)(adata, random_state=0)
    _timed(leiden, stages)(adata)
    return adata.obs["leiden"].to_numpy(), stages


def another(name: str, adata: anndata.AnnData) -> tuple[np.ndarray, Stages]:
    """Cluster with another method at its default, as in accuracy.py."""
    from methods import METHODS, silence

    silence()
    method, stages = METHODS[name], Stages()
    _timed(method.prepare, stages)(adata, 0)
    return _timed(method.cluster, stages)(adata, 0, method.default), stages


def command(path: Path, *, processes: int) -> tuple[np.ndarray, Stages, float]:
    """Cluster with `bgformer cluster`; also return the peak megabytes of that process."""
    several = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    start = several if processes > 1 else []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        output = Path(folder, "out.h5ad")
        line = [sys.executable, *start, "-m", "bgformer", "cluster", str(path), "-o", str(output)]
        subprocess.run([*line, "--quiet"], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return anndata.read_h5ad(output, backed="r").obs["bgformer"].to_numpy(), {}, peak


def main() -> None:
    """Run the method and print its results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method")
    parser.add_argument("file", type=Path)
    parser.add_argument("--calls", type=int, default=1, help="calls; the last is reported")
    parser.add_argument("--labels", type=Path, help="save the clusters of the cells here")
    parser.add_argument("--anchors", type=int, default=0, help="number of anchors; 0: auto")
    chosen = parser.parse_args()
    for _ in range(chosen.calls):
        if chosen.method in ("command", "torchrun"):
            start = time.perf_counter()
            processes = 2 if chosen.method == "torchrun" else 1
            labels, stages, peak = command(chosen.file, processes=processes)
            seconds = time.perf_counter() - start
            truth = anndata.read_h5ad(chosen.file, backed="r").obs["cell_type"].to_numpy()
            megabytes = os.path.getsize(chosen.file) / 2**20
        else:
            is_ours, on_disk = chosen.method in ("ours", "backed"), chosen.method == "backed"
            adata = anndata.read_h5ad(chosen.file, backed="r" if on_disk else None)
            truth, x = adata.obs["cell_type"].to_numpy(), adata.X
            megabytes = os.path.getsize(chosen.file) / 2**20
            if not on_disk:
                megabytes = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / 2**20
            importlib.import_module("bgformer.model" if is_ours else "scanpy")
            start = time.perf_counter()
            if is_ours:
                labels, stages = ours(adata, chosen.anchors or "auto")
            elif chosen.method == "scanpy":
                labels, stages = scanpy(adata)
            else:
                labels, stages = another(chosen.method, adata)
            seconds = time.perf_counter() - start
            peak = max(
                resource.getrusage(who).ru_maxrss / 1024
                for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            )
            if is_ours:
                _timed(bgformer.tl.recluster, stages)(adata, resolution=1.2)
    if chosen.labels:
        np.save(chosen.labels, np.asarray(labels, dtype=int))
    scores = against_labels(truth, labels)
    found = {
        "method": chosen.method,
        "cells": len(truth),
        "seconds": round(seconds, 2),
        "stages": {name: round(spent, 2) for name, spent in stages.items()},
        "ARI": round(scores["ARI"], 3),
        "types": scores["types found"],
        "clusters": scores["clusters"],
        "matrix MB": round(megabytes),
        "peak MB": round(peak),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
