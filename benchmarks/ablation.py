"""Ablation: change one part of the model at a time and compare with the defaults.

    python benchmarks/ablation.py [--sets a,b] [--seeds 0,1] [--arms default,...] [--csv FILE]
    python benchmarks/ablation.py --from-csv a.csv,b.csv [--write]

The data sets are those of accuracy.py without batches to remove. Every arm uses the same genes and
number of steps, unless it changes these. Clusters are those at the default resolution. For one
column, the number of clusters is the number of types. Labels are used only for scoring.

--csv appends each score to a file as it is measured, and skips runs that the file already has.
--from-csv makes the table from such files. --write replaces the table in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import anndata
import numpy as np
import pandas as pd
from accuracy import write
from labelled import SETS_WITH_BATCHES, labelled_sets
from scores import against_labels
from sklearn.metrics import adjusted_rand_score

from bgformer.data import checks
from bgformer.data.counts import CountData, with_size_factors
from bgformer.data.genes import select_genes
from bgformer.fit import metric
from bgformer.fit.dec import refine
from bgformer.fit.embedding import embed
from bgformer.fit.initialise import network_for
from bgformer.fit.schedule import Objective, Schedule
from bgformer.fit.trainer import set_tokens, train
from bgformer.graph import anchors, communities
from bgformer.graph.anchor_graph import AnchorGraph
from bgformer.network import losses
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.heads import head_anchors, head_columns
from bgformer.network.network import LEARNED_SCALE
from bgformer.runtime.progress import Progress
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from scipy import sparse

    from bgformer.network.network import Network

SCORES = {"ARI": 3, "types found": 1, "rare found": 1, "ARI, true K": 3}
"""Columns of the table, with their number of digits."""
SUMMED = ("types found", "rare found")
"""Columns that are summed over sets; the others are averaged."""


def as_they_are(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the weights on the anchors of both heads unchanged."""
    return weights


def of_head(head: int) -> Callable[[sparse.csr_matrix], sparse.csr_matrix]:
    """Return a function that keeps the weights on the anchors of one head."""

    def keep(weights: sparse.csr_matrix) -> sparse.csr_matrix:
        return 2 * weights[:, head_anchors(weights.shape[1])[head]]

    return keep


def no_zinb(counts: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    """Return 0 with a gradient of 0."""
    return 0 * sum(parameter.sum() for parameter in parameters)


def modularity_alone(graph: AnchorGraph, resolution: float) -> np.ndarray:
    """Return Leiden communities without splitting them into islands."""
    return graph._without_small(graph.leiden(resolution), graph.min_cells)


def nothing_refused(_graph: AnchorGraph, clusters: np.ndarray) -> np.ndarray:
    """Return the clusters unchanged."""
    return clusters


@dataclass(frozen=True)
class Arm:
    """One way to build and train the model.

    `instead` maps (module or class, name) to a replacement for that name.
    """

    title: str
    objective: Objective = field(default_factory=Objective)
    schedule: Schedule = field(default_factory=Schedule)
    weights: Callable[[sparse.csr_matrix], sparse.csr_matrix] = as_they_are
    instead: dict[tuple[object, str], object] = field(default_factory=dict)
    metric: bool = True
    tokens: bool = False
    dec_true_k: bool = False
    """DEC starts from as many clusters as there are types, instead of the default clusters."""


ARMS = {
    "default": Arm("default"),
    "no-linear": Arm("without the linear head", weights=of_head(1)),
    "no-learned": Arm("without the learned head", weights=of_head(0)),
    "untrained": Arm("learned head untrained (1 step)", schedule=Schedule(max_steps=1)),
    "no-agreement": Arm("no self-supervised term", objective=Objective(self_supervised=0)),
    "no-commitment": Arm("no commitment", objective=Objective(commitment=0)),
    "no-zinb": Arm("no ZINB term", instead={(losses, "zinb"): no_zinb}),
    "dec": Arm("DEC, weight 0.1", objective=Objective(dec=0.1)),
    "dec-1": Arm("DEC, weight 1", objective=Objective(dec=1)),
    "dec-k": Arm(
        "DEC, weight 0.1, from the true K", objective=Objective(dec=0.1), dec_true_k=True
    ),
    "dec-1-k": Arm("DEC, weight 1, from the true K", objective=Objective(dec=1), dec_true_k=True),
    "no-metric": Arm("no metric: latent as the heads give it", metric=False),
    "no-shrink": Arm("no Wiener shrink", instead={(metric, "_LEAST_SHARE"): 1}),
    "no-islands": Arm(
        "islands not kept", instead={(AnchorGraph, "communities"): modularity_alone}
    ),
    "no-evidence": Arm(
        "splits without evidence not refused",
        instead={(AnchorGraph, "supported"): nothing_refused},
    ),
    "anchors-256": Arm("128 anchors a head", instead={(anchors, "MAX_ANCHORS"): 128}),
    "anchors-2048": Arm(
        "1024 anchors a head, of 2 cells or more",
        instead={(anchors, "MAX_ANCHORS"): 1024, (anchors, "CELLS_PER_ANCHOR"): 2},
    ),
    "tokens": Arm("learned tokens as anchors, no k-means", tokens=True),
    "steps-50": Arm("50 steps", schedule=Schedule(max_steps=50)),
    "steps-200": Arm("200 steps", schedule=Schedule(max_steps=200)),
}


def cluster(adata: anndata.AnnData, seed: int, n_clusters: int, arm: Arm) -> list[np.ndarray]:
    """Return the clusters at the default resolution, and those for the given number."""
    counts = checks.read_counts(adata)
    batch = np.zeros(adata.n_obs, dtype=np.int64)
    data = with_size_factors(counts[:, select_genes(counts, 2000, batch)], batch)
    with ExitStack() as changes:
        changes.enter_context(one_thread())
        for (where, name), value in arm.instead.items():
            changes.enter_context(patch.object(where, name, value))
        weights = arm.weights(trained(data, seed, arm, n_clusters if arm.dec_true_k else None))
        return [
            communities.partition(weights, n_clusters=k, seed=seed).labels
            for k in (None, n_clusters)
        ]


def trained(data: CountData, seed: int, arm: Arm, dec_clusters: int | None) -> sparse.csr_matrix:
    """Train like `BGFormer.fit`, and return the weights of the cells on the anchors.

    If the arm uses DEC, it starts from `dec_clusters` clusters, or from the default clusters.
    """
    network = network_for(
        data,
        n_batches=1,
        n_anchors=anchors.choose_number(data.n_cells, "auto", "auto"),
        n_latent=32,
        seed=seed,
    )
    if arm.metric:
        metric.calibrate(network, data, seed)
    set_tokens(network, data, seed)
    how = {
        "objective": arm.objective,
        "schedule": arm.schedule,
        "seed": seed,
        "progress": Progress(arm.schedule.max_steps, verbose=False),
    }
    train(network, data, **how)
    if arm.metric:
        metric.calibrate(network, data, seed, trained=True)
    weights = placed(network, data, seed)[2]
    if arm.tokens:
        weights = on_tokens(network, data, seed)
    if arm.objective.dec:
        found = communities.partition(weights, n_clusters=dec_clusters, seed=seed)
        refine(network, data, found.labels, **how)
        weights = placed(network, data, seed)[2]
    return weights


def placed(
    network: Network, data: CountData, seed: int
) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix]:
    """Return the latent of all cells, the anchors, and the weights of the cells on them."""
    centres, latent = anchors.centres(network, data, seed), embed(network, data)
    return latent, centres, anchor_weights(latent, centres)


def on_tokens(network: Network, data: CountData, seed: int) -> sparse.csr_matrix:
    """Return the weights with the trained tokens as the anchors of the learned head."""
    latent, centres, _ = placed(network, data, seed)
    columns, own = head_columns(latent.shape[1])[1], head_anchors(len(centres))[1]
    centres[own, columns] = LEARNED_SCALE * network.anchors.detach().numpy()
    return anchor_weights(latent, centres)


def run(paths: list[Path], seeds: list[int], arms: list[str], csv: Path | None) -> pd.DataFrame:
    """Score arms on all sets with all seeds; skip runs that are in the file `csv`."""
    earlier = pd.read_csv(csv) if csv and csv.exists() else pd.DataFrame()
    done = set()
    if len(earlier):
        done = set(earlier[["set", "seed", "arm"]].itertuples(index=False, name=None))
    rows = []
    for seed in seeds:
        for path in paths:
            full = anndata.read_h5ad(path)
            truth = full.obs["cell_type"].astype(str).to_numpy()
            counts = anndata.AnnData(full.X)
            for arm in arms:
                if (path.stem, seed, arm) in done:
                    continue
                found, with_k = cluster(counts, seed, len(set(truth)), ARMS[arm])
                scored = against_labels(truth, found)
                scored["ARI, true K"] = adjusted_rand_score(truth, with_k)
                rows.append({"set": path.stem, "seed": seed, "arm": arm} | scored)
                print(*rows[-1].values(), flush=True)
                if csv:
                    line = pd.DataFrame([rows[-1]])
                    line.to_csv(csv, mode="a", header=not csv.exists(), index=False)
    return pd.concat([earlier, pd.DataFrame(rows)], ignore_index=True)


def table(scores: pd.DataFrame) -> str:
    """Return a markdown table: a row per arm, with its scores and their change from the default.

    A change compares runs with the same set and seed, and is averaged over seeds. ± is the
    standard error of the mean (or sum) over sets, which shows how well the change generalises to
    other sets. It is omitted if there is only one set.
    """
    everything = scores.groupby("set")[["types", "rare types"]].first().sum()
    titles = {column: column for column in SCORES}
    titles["types found"] = f"types (of {everything['types']})"
    titles["rare found"] = f"rare types (of {everything['rare types']})"
    columns = [part for title in titles.values() for part in (title, "change")]
    lines = [f"| arm | runs | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    runs = scores.pivot_table(list(SCORES), ["set", "seed"], "arm", sort=False)
    for name, arm in ARMS.items():
        if name not in scores["arm"].to_numpy():
            continue
        cells = [str((scores["arm"] == name).sum())]
        for column, digits in SCORES.items():
            n_sets = len(runs[column, name].dropna().groupby("set"))
            scale = n_sets if column in SUMMED else 1
            values = runs[column, name].dropna().groupby("set").mean()
            cells.append(f"{scale * values.mean():.{digits}f}")
            change = (runs[column, name] - runs[column, "default"]).dropna().groupby("set").mean()
            shown = f"{scale * change.mean():+.{digits}f}"
            if n_sets > 1:
                shown += f" ± {scale * change.std() / np.sqrt(n_sets):.{digits}f}"
            cells.append("" if name == "default" else shown)
        lines.append(f"| {arm.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the ablation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="comma-separated names of sets; default: all")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--arms", default=",".join(ARMS), help="default: all")
    parser.add_argument("--csv", type=Path, help="append each score to this file")
    parser.add_argument("--from-csv", default="", help="make the table from these files")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    chosen = parser.parse_args()
    if chosen.from_csv:
        scores = pd.concat([pd.read_csv(file) for file in chosen.from_csv.split(",")])
    else:
        paths = [p for p in labelled_sets(chosen.sets) if p.stem not in SETS_WITH_BATCHES]
        seeds = [int(seed) for seed in chosen.seeds.split(",")]
        scores = run(paths, seeds, chosen.arms.split(","), chosen.csv)
    scores = scores.drop_duplicates(["set", "seed", "arm"], keep="last")
    print(table(scores))
    if chosen.write:
        write("ablation", table(scores))


if __name__ == "__main__":
    main()
