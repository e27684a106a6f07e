"""Count the marker genes that tests report between clusters of a single population.

    python benchmarks/false_markers.py [--seeds 0,1] [--write]

Each of the five cell lines of sc_mixology_5cl is taken alone, as it is and without structure. For
the latter, counts are drawn from a Poisson distribution with the line's mean profile, scaled to
the total counts of a cell. Genes are then independent, and cells differ in these totals alone.

The cells are divided into two clusters at random, by bgformer (n_clusters=2), and by Leiden in
scanpy (the lowest resolution, in steps of 0.1, that gives two or more; 2000 highly variable genes,
20 principal components, 15 neighbours). The clusters are tested by bgf.tl.markers. Its p-values
are from held-out counts for the clusters of bgformer. They are those of a t-test, as scanpy's, for
the random halves, which the anchors do not tell, and if there are no results of bgformer.

The table has the share of genes with p < 0.05, before and after adjustment, of those detected in
10 cells or more, for the largest cluster, averaged over lines and seeds. A real line has a cell
cycle and batches, so what is found between two clusters of it can be true.

--write replaces the table in docs/benchmarks.md. Data as in accuracy.py.
"""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from accuracy import write
from labelled import labelled_sets
from methods import silence
from scipy import sparse
from tables import header, line

import bgformer as bgf

if TYPE_CHECKING:
    from collections.abc import Iterator

SET = "sc_mixology_5cl"
FEWEST = 10
"""Number of cells that a gene is detected in, to be counted."""
LEVEL = 0.05
LINE, NULL = "a cell line", "no structure"
RANDOM, OURS, LEIDEN = "random halves", "bgformer", "Leiden"
HELD_OUT, PLAIN = "held-out counts", "t-test, all counts"
KEYS = ["data", "clusters", "p-values from"]


def without_structure(counts: sparse.csr_matrix, rng: np.random.Generator) -> sparse.csr_matrix:
    """Return counts of a population with the mean profile and the total counts of these cells."""
    totals, profile = (np.asarray(counts.sum(axis=axis)).ravel() for axis in (1, 0))
    drawn = rng.poisson(np.outer(totals, profile / profile.sum()))
    return sparse.csr_matrix(drawn, dtype=np.float32)


def leiden(cells: anndata.AnnData, seed: int) -> np.ndarray:
    """Return the clusters at the lowest resolution, in steps of 0.1, that gives two or more."""
    own = anndata.AnnData(cells.X.copy(), var=cells.var[[]])
    sc.pp.normalize_total(own, target_sum=1e4)
    sc.pp.log1p(own)
    sc.pp.highly_variable_genes(own, n_top_genes=2000)
    sc.pp.pca(own, n_comps=20, random_state=seed)
    sc.pp.neighbors(own, n_neighbors=15, random_state=seed)
    for resolution in np.arange(0.1, 5, 0.1):
        sc.tl.leiden(
            own, resolution, random_state=seed, flavor="igraph", n_iterations=2, directed=False
        )
        if own.obs["leiden"].nunique() > 1:
            break
    return own.obs["leiden"].astype(str).to_numpy()


def shares(cells: anndata.AnnData, column: str) -> dict[str, object]:
    """Return the shares of genes that `bgf.tl.markers` reports for the largest cluster."""
    marked = bgf.tl.markers(cells, column, copy=True).uns["rank_genes_groups"]
    largest = str(cells.obs[column].value_counts().index[0])
    detected = np.asarray((cells.X > 0).sum(axis=0)).ravel()
    counted = np.isin(marked["names"][largest], cells.var_names[detected >= FEWEST])
    p, adjusted = (marked[name][largest][counted] for name in ("pvals", "pvals_adj"))
    return {
        "p-values from": HELD_OUT if marked["params"]["held_out"] else PLAIN,
        "p": (p < LEVEL).mean(),
        "adjusted p": (adjusted < LEVEL).mean(),
    }


def run(counts: sparse.csr_matrix, genes: pd.Index, seed: int) -> Iterator[dict[str, object]]:
    """Cluster one population in three ways, and test the clusters."""
    cells = anndata.AnnData(counts, var=pd.DataFrame(index=genes))
    bgf.tl.cluster(cells, n_clusters=2, seed=seed, verbose=False)
    halves = np.random.default_rng(seed).permutation(cells.n_obs) % 2
    cells.obs[RANDOM] = pd.Categorical(np.where(halves, "a", "b"))
    cells.obs[OURS], cells.obs[LEIDEN] = cells.obs["bgformer"], pd.Categorical(leiden(cells, seed))
    without = anndata.AnnData(cells.X, obs=cells.obs, var=cells.var)
    for column, of in (
        (RANDOM, cells),
        (OURS, cells),
        (OURS, without),
        (LEIDEN, without),
    ):
        yield {"clusters": column, **shares(of, column)}


def table(runs: pd.DataFrame) -> str:
    """Return a markdown table of means over lines and seeds."""
    lines = header(*KEYS, "p < 0.05", "largest share of a line", "adjusted p < 0.05")
    for keys, rows in runs.groupby(KEYS, sort=False):
        of_lines = rows.groupby("line")["p"].mean()
        values = rows["p"].mean(), of_lines.max(), rows["adjusted p"].mean()
        lines.append(line(*keys, *(f"{100 * value:.1f} %" for value in values)))
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    options = parser.parse_args()
    silence()
    warnings.filterwarnings("ignore", "the p-values of these clusters are 1")
    (path,) = labelled_sets(SET)
    full, rows = anndata.read_h5ad(path), []
    for name in sorted(full.obs["cell_type"].unique()):
        own = full[full.obs["cell_type"] == name]
        counts = sparse.csr_matrix(own.X, dtype=np.float32)
        for seed in map(int, options.seeds.split(",")):
            drawn = without_structure(counts, np.random.default_rng(seed))
            for data, of in ((NULL, drawn), (LINE, counts)):
                for row in run(of, own.var_names, seed):
                    rows.append({"data": data, "line": name, "seed": seed, **row})
                    print(*rows[-1].values(), flush=True)
    runs = pd.DataFrame(rows).sort_values("data", ascending=False, kind="stable")
    text = f"Seeds {options.seeds}; bgformer {bgf.__version__}.\n\n{table(runs)}"
    print(text)
    if options.write:
        write("false markers", text)


if __name__ == "__main__":
    main()
