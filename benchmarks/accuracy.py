"""Clusters against known labels: bgformer and its peers on every labelled set.

    python benchmarks/accuracy.py [--sets a,b] [--seeds 0,1,2] [--write]

Reads the .h5ad files in the folder BGFORMER_DATA (default: ../shared/data beside the checkout):
raw counts in ``X``, labels in ``obs["cell_type"]``, batches, if any, in ``obs["batch"]``. A method
gets the counts alone, plus the true number of clusters where its name says so; labels go to the
scores and nowhere else. With --write the table replaces the one in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import pandas as pd
import scanpy as sc
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import bgformer as bgf

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def labelled_sets(names: str = "") -> list[Path]:
    """Return the files of the labelled sets; `names`, comma-separated, picks some."""
    folder = Path(os.environ.get("BGFORMER_DATA", ROOT.parent / "shared" / "data"))
    paths = [p for p in sorted(folder.glob("*.h5ad")) if not names or p.stem in names.split(",")]
    if not paths:
        raise SystemExit(f"no such .h5ad files in '{folder}'; set BGFORMER_DATA to their folder.")
    return paths


def ours(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Ours, defaults."""
    batch_key = "batch" if "batch" in adata.obs else None
    bgf.tl.cluster(adata, seed=seed, batch_key=batch_key, verbose=False)
    return adata.obs["bgformer"].to_numpy()


def ours_given_k(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """Ours, true K: the model that `ours` has just trained, cut into K clusters."""
    bgf.tl.recluster(adata, n_clusters=n_clusters)
    return adata.obs["bgformer"].to_numpy()


def scanpy_pca(adata: anndata.AnnData, seed: int) -> None:
    """Log-normalise, choose 2000 genes, scale, 50 PCs: scanpy's standard preparation."""
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    if adata.n_vars > 2000:
        sc.pp.highly_variable_genes(adata, n_top_genes=2000)
        adata._inplace_subset_var(adata.var["highly_variable"].to_numpy())
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=50, random_state=seed)


def scanpy_leiden(adata: anndata.AnnData, seed: int) -> np.ndarray:
    """Leiden as scanpy runs it, resolution 1."""
    scanpy_pca(adata, seed)
    sc.pp.neighbors(adata, random_state=seed)
    sc.tl.leiden(adata, random_state=seed, flavor="igraph", n_iterations=-1, directed=False)
    return adata.obs["leiden"].to_numpy()


def pca_kmeans(adata: anndata.AnnData, seed: int, n_clusters: int) -> np.ndarray:
    """PCA + k-means, true K, on the PCs that `scanpy_leiden` has just made."""
    return KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(adata.obsm["X_pca"])


# Each row: the name in the table; the method; whether it starts from the raw counts or goes on
# from what the row before left in the AnnData; whether it is given the true number of clusters.
METHODS = [
    ("bgformer", ours, True, False),
    ("bgformer, true K", ours_given_k, False, True),
    ("scanpy Leiden, resolution 1", scanpy_leiden, True, False),
    ("PCA + k-means, true K", pca_kmeans, False, True),
]


def score(path: Path, seed: int) -> list[dict[str, object]]:
    """Run every method on one set with one seed."""
    full = anndata.read_h5ad(path)
    truth = full.obs["cell_type"].to_numpy()
    hidden = anndata.AnnData(full.X, obs=full.obs.drop(columns="cell_type"), var=full.var)
    rows = []
    for name, method, from_counts, given_k in METHODS:
        if from_counts:
            adata = hidden.copy()
        given = {"n_clusters": len(set(truth))} if given_k else {}
        started = time.perf_counter()
        labels = method(adata, seed, **given)
        rows.append(
            {
                "set": path.stem,
                "method": name,
                "seed": seed,
                "ARI": adjusted_rand_score(truth, labels),
                "NMI": normalized_mutual_info_score(truth, labels),
                "clusters": len(set(labels)),
                "seconds": time.perf_counter() - started,
            }
        )
        print(" ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in rows[-1].values()))
    return rows


def table(scores: pd.DataFrame) -> str:
    """Return a markdown table: a row per set and method, means over seeds, ARI with its spread."""
    grouped = scores.groupby(["set", "method"], sort=False)
    lines = ["| set | method | ARI | NMI | clusters | seconds |", "|---|---|---|---|---|---|"]
    for (name, method), rows in grouped:
        ari, mean = rows["ARI"], rows[["NMI", "clusters", "seconds"]].mean()
        spread = f" ± {ari.std():.3f}" if len(rows) > 1 else ""
        lines.append(
            f"| {name} | {method} | {ari.mean():.3f}{spread} | {mean['NMI']:.3f} | "
            f"{mean['clusters']:.1f} | {mean['seconds']:.1f} |"
        )
    for method, rows in scores.groupby("method", sort=False):
        by_set = rows.groupby("set")[["ARI", "NMI"]].mean().mean()
        lines.append(
            f"| **mean of sets** | {method} | {by_set['ARI']:.3f} | {by_set['NMI']:.3f} | | |"
        )
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table between its markers in the page."""
    start, end = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    after = rest.split(end)[1]
    PAGE.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all if empty")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    paths = labelled_sets(chosen.sets)
    warnings.filterwarnings("ignore", module="scanpy|anndata|umap|igraph")
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    scores = pd.DataFrame([row for path in paths for seed in seeds for row in score(path, seed)])
    head = (
        f"bgformer {bgf.__version__}, seeds {chosen.seeds}; {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}.\n\n"
    )
    text = head + table(scores)
    print(text)
    if chosen.write:
        write(text)


if __name__ == "__main__":
    main()
