"""Clusters found where there is one population: cells of one line from one experiment.

    python benchmarks/one_population.py [--seeds 0,1] [--write]

Each cell line within each protocol of sc_mixology_5cl, if it has 60 cells or more, is clustered
alone at the defaults. Data as in accuracy.py. With --write the table replaces the one in
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import anndata
import numpy as np
from accuracy import labelled_sets, write
from methods import METHODS, silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from methods import Method

MIN_CELLS = 60


def groups() -> Iterator[tuple[str, anndata.AnnData]]:
    """Give each line within each protocol that has enough cells, with nothing but its counts."""
    full = anndata.read_h5ad(labelled_sets("sc_mixology_5cl")[0])
    for (protocol, line), cells in full.obs.groupby(["batch", "cell_type"], observed=True):
        if len(cells) >= MIN_CELLS:
            yield f"{line}, {protocol}", anndata.AnnData(full[cells.index].X, var=full.var[[]])


def clusters_found(counts: anndata.AnnData, method: Method, seed: int) -> int:
    """Return how many clusters a method finds."""
    adata = counts.copy()
    method.prepare(adata, seed)
    return len(set(method.cluster(adata, seed)))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    silence()
    methods = [METHODS["ours"], METHODS["leiden"]]
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    lines = [
        f"Seeds {chosen.seeds}; {', '.join(method.software() for method in methods)}.\n",
        f"| population | cells | {' | '.join(method.title for method in methods)} |",
        "|---" * (2 + len(methods)) + "|",
    ]
    means = []
    for name, counts in groups():
        found = [[clusters_found(counts, method, s) for s in seeds] for method in methods]
        means.append(np.mean(found, axis=1))
        lines.append(f"| {name} | {counts.n_obs} | {' | '.join(f'{n:.1f}' for n in means[-1])} |")
        print(lines[-1], flush=True)
    overall = " | ".join(f"{n:.1f}" for n in np.mean(means, axis=0))
    lines.append(f"| **mean of populations** | | {overall} |")
    text = "\n".join(lines)
    print(f"\n{text}")
    if chosen.write:
        write("one population", text)


if __name__ == "__main__":
    main()
