"""What each part of the model is worth: one change at a time against the defaults.

    python benchmarks/ablation.py [--sets a,b] [--seeds 0,1] [--arms default,...] [--csv FILE]
    python benchmarks/ablation.py --from-csv a.csv,b.csv [--write]

Sets as in accuracy.py; sc_mixology_5cl is left out, because it asks about batches. Every arm gets
the same steps, genes and partition, and labels only score. --csv adds each score to a file as it
is measured, and --from-csv makes the table from such files; with --write it replaces the one in
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from accuracy import labelled_sets, write
from sklearn.metrics import adjusted_rand_score

from bgformer import counts as count_matrix
from bgformer.anchors import Placement, anchor_weights, choose_number, partition, place
from bgformer.devices import one_thread
from bgformer.genes import select_genes
from bgformer.metric import calibrate
from bgformer.network import BipartiteAttention, Encoded, Network
from bgformer.progress import Progress
from bgformer.refinement import refine
from bgformer.training import Objective, Schedule, embed, network_for, train

WITHOUT = "sc_mixology_5cl"
REFINEMENT_STEPS = 100


class DistanceAttention(BipartiteAttention):
    """Attention by distance: cells read from the anchors that are near, not from aligned ones."""

    def logits(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return what `BipartiteAttention` returns."""
        return -torch.cdist(query, key).square()


class ThroughAnchorsAlone(Network):
    """The latent is what a cell reads from the anchors, without the cell's own encoding."""

    def encode(
        self, counts: torch.Tensor, size_factors: torch.Tensor, keep: torch.Tensor | None = None
    ) -> Encoded:
        """Return what `Network` returns."""
        encoded = super().encode(counts, size_factors, keep)
        if encoded.attention is None:
            return encoded
        return encoded._replace(latent=encoded.latent - encoded.query)


@dataclass(frozen=True)
class Arm:
    """One way to build and train the model."""

    title: str
    objective: Objective = field(default_factory=Objective)
    schedule: Schedule = field(default_factory=Schedule)
    network: type[Network] = Network
    attention: type[BipartiteAttention] = BipartiteAttention
    n_heads: int = 4
    n_anchors: int | str = "auto"
    n_latent: int = 32
    metric: bool = True
    tokens: bool = False
    random_start: bool = False


ARMS = {
    "default": Arm("default"),
    "no-attention": Arm("without attention", schedule=Schedule(warm_up=1.0)),
    "distance": Arm("attention by distance", attention=DistanceAttention),
    "anchors-alone": Arm("no residual: attention output alone", network=ThroughAnchorsAlone),
    "heads-1": Arm("1 head", n_heads=1),
    "no-commitment": Arm("no commitment", objective=Objective(commitment=0)),
    "no-agreement": Arm("no self-supervised term", objective=Objective(self_supervised=0)),
    "agreement-0.3": Arm("self-supervised weight 0.3", objective=Objective(self_supervised=0.3)),
    "dec": Arm("DEC, weight 0.1, kept if the guard says so", objective=Objective(dec=0.1)),
    "mask-0.1": Arm("10 % masked", schedule=Schedule(mask_share=0.1)),
    "mask-0.6": Arm("60 % masked", schedule=Schedule(mask_share=0.6)),
    "anchors-64": Arm("64 anchors", n_anchors=64),
    "anchors-512": Arm("512 anchors", n_anchors=512),
    "latent-16": Arm("latent of 16", n_latent=16),
    "latent-64": Arm("latent of 64", n_latent=64),
    "steps-150": Arm("150 steps", schedule=Schedule(max_steps=150)),
    "steps-600": Arm("600 steps", schedule=Schedule(max_steps=600)),
    "genes-512": Arm("ZINB on 512 genes a step", schedule=Schedule(genes_per_step=512)),
    "random-start": Arm("encoder starts at random, not from the PCA", random_start=True),
    "no-metric": Arm("latent as the encoder gives it", metric=False),
    "tokens": Arm("the graph's anchors are the tokens, no k-means", tokens=True),
}


def cluster(adata: anndata.AnnData, seed: int, n_clusters: int, arm: Arm) -> list[np.ndarray]:
    """Return the clusters at the default resolution, and those with the number given."""
    counts = count_matrix.read_counts(adata)
    batch = np.zeros(adata.n_obs, dtype=np.int64)
    data = count_matrix.with_size_factors(counts[:, select_genes(counts, 2000, batch)], batch)
    with one_thread():
        network = network_for(
            data,
            n_batches=1,
            n_anchors=choose_number(data.n_cells, arm.n_anchors, "auto"),
            n_latent=arm.n_latent,
            seed=seed,
        )
        network.__class__ = arm.network
        if arm.random_start:
            with torch.no_grad():
                network.linear.weight.zero_()
                network.encoder_out.weight.mul_(10)  # as torch sets it
        if (arm.attention, arm.n_heads) != (BipartiteAttention, 4):
            torch.manual_seed(seed)
            network.attention = arm.attention(arm.n_latent, arm.n_heads)
        train(
            network,
            data,
            objective=arm.objective,
            schedule=arm.schedule,
            seed=seed,
            progress=Progress(arm.schedule.max_steps, verbose=False),
        )
        if arm.metric:
            calibrate(network, data, seed)
        placed = place(network, data, seed)
        if arm.tokens:
            placed = at_tokens(network, data)
        if arm.objective.dec:
            placed = refined(network, data, placed, arm, seed)
        return [
            partition(placed.weights, n_clusters=k, seed=seed).labels for k in (None, n_clusters)
        ]


@torch.no_grad()
def at_tokens(network: Network, data: count_matrix.CountData) -> Placement:
    """Return the cells among the tokens, which take the same way as the cells' queries do."""
    tokens = network.anchors
    anchors = network.in_units(tokens + network.attention(tokens, tokens)[0]).numpy()
    latent = embed(network, data)
    return Placement(latent, anchors, anchor_weights(latent, anchors))


def refined(
    network: Network, data: count_matrix.CountData, placed: Placement, arm: Arm, seed: int
) -> Placement:
    """Return the placement after DEC, if its guard keeps it."""
    result = refine(
        network,
        data,
        placed,
        partition(placed.weights, seed=seed),
        objective=arm.objective,
        schedule=Schedule(max_steps=REFINEMENT_STEPS),
        seed=seed,
        progress=Progress(REFINEMENT_STEPS, verbose=False),
    )
    print(result.report)
    return result.placed if result.kept else placed


def table(scores: pd.DataFrame) -> str:
    """Return a markdown table: a row per arm, its mean and its change against the default.

    The change is taken pair by pair, on the sets and seeds that both have, with its standard
    error over these pairs.
    """
    runs = scores.pivot_table(["ARI", "ARI, true K"], ["set", "seed"], "arm", sort=False)
    lines = [
        "| arm | runs | ARI | change | ARI, true K | change |",
        "|---|---|---|---|---|---|",
    ]
    for name, arm in ARMS.items():
        if name not in scores["arm"].to_numpy():
            continue
        cells = []
        for score in ("ARI", "ARI, true K"):
            values = runs[score, name].dropna()
            change = (values - runs[score, "default"]).dropna()
            error = change.std() / np.sqrt(len(change))
            cells += [
                f"{values.mean():.3f}",
                "" if name == "default" else f"{change.mean():+.3f} ± {error:.3f}",
            ]
        lines.append(f"| {arm.title} | {len(values)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the ablation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all if empty")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--arms", default=",".join(ARMS), help="default: all")
    parser.add_argument("--csv", type=Path, help="add each score to this file")
    parser.add_argument("--from-csv", default="", help="make the table from these files")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    rows = []
    for seed in map(int, chosen.seeds.split(",")) if not chosen.from_csv else ():
        for path in labelled_sets(chosen.sets):
            if path.stem == WITHOUT:
                continue
            full = anndata.read_h5ad(path)
            truth = full.obs["cell_type"].to_numpy()
            counts = anndata.AnnData(full.X)
            for arm in chosen.arms.split(","):
                found, with_k = cluster(counts, seed, len(set(truth)), ARMS[arm])
                rows.append(
                    {
                        "set": path.stem,
                        "seed": seed,
                        "arm": arm,
                        "ARI": adjusted_rand_score(truth, found),
                        "ARI, true K": adjusted_rand_score(truth, with_k),
                        "clusters": len(set(found)),
                    }
                )
                print(*rows[-1].values(), flush=True)
                if chosen.csv:
                    line = pd.DataFrame([rows[-1]])
                    line.to_csv(chosen.csv, mode="a", header=not chosen.csv.exists(), index=False)
    if chosen.from_csv:
        scores = pd.concat([pd.read_csv(file) for file in chosen.from_csv.split(",")])
        scores = scores.drop_duplicates(["set", "seed", "arm"], keep="last")
    else:
        scores = pd.DataFrame(rows)
    print(table(scores))
    if chosen.write:
        write("ablation", table(scores))


if __name__ == "__main__":
    main()
