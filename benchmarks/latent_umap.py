"""Time, memory and trustworthiness of `bgformer.tl.umap`, beside umap-learn on the same latent.

    python benchmarks/latent_umap.py [--sizes 4271,100000] [--folder FOLDER] [--write]

The cells of speed.py are clustered once, and each UMAP is then computed in a separate process.
The seconds are those of the call, which imports umap-learn and compiles; bgformer and the cells
are there already. In the row "first ever", umap-learn's cache of compiled functions is empty.
umap-learn is `umap.UMAP` with 15 neighbours, minimum distance 0.5, the same start and a seed.
Peak memory is that of the process. Trustworthiness (scikit-learn, 15 neighbours, 1 at most) is of
4,500 random cells among each other. --write replaces the table in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import anndata
import numpy as np
from accuracy import write
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from speed import data_file, machine

import bgformer

METHODS = {"ours": "bgformer", "first": "bgformer, first ever", "umap": "umap-learn"}
MEASURED = 4500


def run(method: str, file: Path) -> dict:
    """Compute a UMAP of clustered cells in this process, and measure it."""
    adata = anndata.read_h5ad(file)
    call = bgformer.tl.umap  # its imports are not timed
    latent = np.asarray(adata.obsm["X_bgformer"])
    start = time.perf_counter()
    if method == "umap":
        import umap

        at = PCA(2, random_state=0).fit_transform(latent)
        places = umap.UMAP(min_dist=0.5, init=at, random_state=0, n_jobs=1).fit_transform(latent)
    else:
        call(adata)
        places = adata.obsm["X_bgformer_umap"]
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    some = np.random.default_rng(1).permutation(len(latent))[:MEASURED]
    trust = trustworthiness(latent[some], places[some], n_neighbors=15)
    return {"seconds": seconds, "peak MB": peak, "trustworthiness": trust}


def measured(method: str, file: Path) -> dict:
    """Return what `run` does in a new process."""
    with tempfile.TemporaryDirectory() as empty:
        cache = {"NUMBA_CACHE_DIR": empty} if method == "first" else {}
        command = [sys.executable, __file__, "--one", method, str(file)]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | cache
        )
    return json.loads(answer.stdout.splitlines()[-1])


def clustered(n_cells: int, folder: Path) -> Path:
    """Return a file with the results of clustering, without counts."""
    adata = anndata.read_h5ad(data_file(n_cells, folder))
    bgformer.tl.cluster(adata, verbose=False)
    file = folder / f"clustered-{n_cells}.h5ad"
    kept = anndata.AnnData(obs=adata.obs, obsm=dict(adata.obsm), uns=dict(adata.uns))
    kept.write_h5ad(file)
    return file


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="4271,100000")
    parser.add_argument("--folder", type=Path, help="keep the cells here")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        warnings.simplefilter("ignore")
        print(json.dumps(run(chosen.one[0], Path(chosen.one[1]))))
        return
    lines = ["| cells | method | seconds | peak MB | trustworthiness |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        for n_cells in map(int, chosen.sizes.split(",")):
            file = clustered(n_cells, chosen.folder or Path(scratch))
            for method, name in METHODS.items():
                found = measured(method, file)
                lines.append(
                    f"| {n_cells:,} | {name} | {found['seconds']:.1f} | {found['peak MB']:,} "
                    f"| {found['trustworthiness']:.3f} |"
                )
                print(lines[-1], flush=True)
    if chosen.write:
        write("umap", f"bgformer {bgformer.__version__}; {machine()}.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
