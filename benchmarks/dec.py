"""What DEC refinement does to the clusters, and whether its guard decides well.

    python benchmarks/dec.py [--sets a,b] [--seeds 0,1]

Fits each set, refines the fitted network by DEC with weight 0.1, and prints the ARI before and
after with the guard's verdict, which sees no labels. Sets as in accuracy.py.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import anndata
import numpy as np
from accuracy import labelled_sets
from sklearn.metrics import adjusted_rand_score

import bgformer as bgf
from bgformer import counts as count_matrix
from bgformer.anchors import Placement, partition
from bgformer.devices import one_thread
from bgformer.progress import Progress
from bgformer.refinement import refine
from bgformer.training import Objective, Schedule

STEPS = 100


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all if empty")
    parser.add_argument("--seeds", default="0,1")
    chosen = parser.parse_args()
    for path in labelled_sets(chosen.sets):
        adata = anndata.read_h5ad(path)
        truth = adata.obs["cell_type"].to_numpy()
        for seed in map(int, chosen.seeds.split(",")):
            model = bgf.BGFormer(seed=seed, verbose=False).fit(adata)
            genes = adata.var_names.get_indexer(model.genes_)
            counts = count_matrix.read_counts(adata)[:, genes]
            batch = np.zeros(adata.n_obs, dtype=np.int64)
            with one_thread():
                refined = refine(
                    model.network_,
                    count_matrix.with_size_factors(counts, batch),
                    Placement(model.latent_, model.anchors_, model.weights_),
                    model.partition_,
                    objective=Objective(dec=0.1),
                    schedule=replace(Schedule(), max_steps=STEPS),
                    seed=seed,
                    progress=Progress(STEPS, verbose=False),
                )
                placed = refined.placed
                after = partition(placed.weights, seed=seed)
            before = adjusted_rand_score(truth, model.partition_.labels)
            print(
                f"{path.stem} seed {seed}: ARI {before:.3f} before, "
                f"{adjusted_rand_score(truth, after.labels):.3f} after; {refined.report}",
                flush=True,
            )


if __name__ == "__main__":
    main()
