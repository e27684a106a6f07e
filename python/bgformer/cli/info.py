"""``bgformer info``: versions, or what a file or a model holds."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from bgformer._version import __version__

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

    from bgformer.data.source import StoredCells


def info(options: argparse.Namespace) -> None:
    """Print what is installed, or what a file or a model holds."""
    from bgformer.data import source
    from bgformer.store import persistence

    if options.path is None:
        _print_versions()
    elif persistence.is_unfinished(options.path):
        _print_run(options.path)
        if persistence.holds_model(options.path):
            print("beside it, the finished model of an earlier run")
    elif persistence.holds_model(options.path):
        tensors, description = persistence.read(options.path)
        with persistence.damage_reported(options.path):
            lines = [
                f"a model of bgformer {description['version']}",
                f"fitted to {len(tensors['latent'])} cells x {len(description['genes'])} genes",
                *_batches(description["batches"]),
                f"clusters: {int(tensors['anchor_clusters'].max()) + 1}, "
                f"from {len(tensors['anchors'])} anchors",
                *(
                    f"{name}: {_listed(value)}"
                    for name, value in description["settings"].items()
                    if value is not None
                ),
            ]
        print("\n".join(lines))
    elif (options.path / persistence.UNFINISHED).is_dir():
        print("an unfinished run, whose model is not trained yet; start it again")
    else:
        with source.opened(options.path) as cells:
            _print_cells(cells)


def _print_run(folder: Path) -> None:
    """Print how far an unfinished run has come."""
    from bgformer.store.checkpoint import Checkpoint
    from bgformer.store.persistence import UNFINISHED, how_to_resume

    checkpoint = Checkpoint(folder / UNFINISHED, shown=folder)
    options, trained = checkpoint.run().get("options", {}), checkpoint.trained("cpu")
    n_placed = sum(len(block.latent) for block in checkpoint.placed(trained))
    print(f"an unfinished run: {n_placed} of {trained.n_cells} cells placed")
    for name in ("input", "output", "csv"):
        if options.get(name) is not None:
            print(f"{name}: {options[name]}")
    print(f"to continue, run: {how_to_resume(folder)}")


def _batches(names: list[str]) -> list[str]:
    """Return a line on the batches, if there were any."""
    return [f"batches: {', '.join(names)}"] if len(names) > 1 else []


def _listed(value: object) -> str:
    """Return a setting as text; the objective is several numbers."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {part:g}" for name, part in value.items())
    return str(value)


def _print_versions() -> None:
    """Print the versions of what results depend on, and the device that "auto" means."""
    from importlib.metadata import version

    from bgformer.runtime.devices import pick_device

    print(f"bgformer {__version__}")
    print(f"python {sys.version.split()[0]}")
    for name in ("torch", "numpy", "scipy", "anndata", "scanpy", "igraph", "safetensors"):
        print(f"{name} {version(name)}")
    print(f"device {pick_device('auto').type}")


def _print_cells(adata: AnnData | StoredCells) -> None:
    """Print the size of a data set and the clusterings it holds."""
    from bgformer.store.reading import damage, is_ours

    print(f"{adata.n_obs} cells x {adata.n_vars} genes")
    print(f"layers: {', '.join(adata.layers) or 'none'}")
    print(f"columns of obs: {', '.join(adata.obs.columns) or 'none'}")
    for key, stored in adata.uns.items():
        if not is_ours(stored) or key not in adata.obs:
            continue
        reason = damage(stored)
        if reason:
            print(f"results '{key}' of bgformer: damaged ({reason})")
        else:
            print(f"results '{key}' of bgformer {stored['version']}: {_found(adata, key, stored)}")


def _found(adata: AnnData | StoredCells, key: str, stored: Mapping[str, Any]) -> str:
    """Return which clusters there are, with how many cells, and how they were found."""
    from bgformer.store.looks import unassigned_in
    from bgformer.store.reading import is_predicted

    resolution, n_clusters = float(stored["resolution"]), int(stored["n_clusters"])
    how = "number set" if math.isnan(resolution) else f"resolution {resolution:.3g}"
    column = adata.obs[key]
    apart = unassigned_in(adata.obs, key, stored)
    sizes = (column if apart is None else column[~apart]).value_counts(sort=False)
    sizes = sizes[sizes > 0]
    kind = []
    if is_predicted(stored):
        kind.append("placed by a model of other cells")
    if adata.n_obs < stored["n_cells"]:
        kind.append(f"{adata.n_obs} of {stored['n_cells']} cells")
    if not kind and list(sizes.index) == [str(cluster) for cluster in range(n_clusters)]:
        plural = "" if n_clusters == 1 else "s"
        listed = ", ".join(str(size) for size in sizes)
        clusters = f"{n_clusters} cluster{plural} of {listed} cells"
    else:  # some clusters may have no cells here, so those that have are named
        listed = ", ".join(
            f"{name} ({size} cell{'' if size == 1 else 's'})" for name, size in sizes.items()
        )
        clusters = f"{len(sizes)} of {n_clusters} clusters" + (f": {listed}" if listed else "")
    if apart is not None and apart.any():
        clusters += f", {apart.sum()} unassigned"
    return f"{', '.join([*kind, clusters])} ({how}, seed {stored['seed']})"
