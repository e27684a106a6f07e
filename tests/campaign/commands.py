"""The command in processes of its own, and what a run that nothing disturbs takes and gives."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import matrices
from harness import environment
from outcomes import patience

BGFORMER = (sys.executable, "-m", "bgformer")
IN_BLOCKS = (
    sys.executable,
    "-c",
    "from bgformer.runtime import block_sizes; block_sizes.PLACED = 64;"
    "import sys; from bgformer.__main__ import main; sys.exit(main())",
)
"""The command with blocks so small that it can be killed between them."""
STEPS = ("--max-steps", "2", "--quiet")
_SAVE = (
    "import sys, bgformer; bgformer.BGFormer.load(sys.argv[1]).save(sys.argv[2], overwrite=True)"
)
_lock = threading.Lock()


class Whole(NamedTuple):
    """What whole runs made: a folder with cells, outputs and models, and seconds by command."""

    folder: Path
    seconds: dict[str, float]


def words(command: str, inputs: Path, output: Path, form: str = "h5ad") -> list[Any]:
    """Return the words of a command that reads from one folder and writes into another."""
    target = output / ("out.zarr" if form == "zarr" else "out.h5ad")
    cells = inputs / ("cells" if form == "mtx" else f"cells.{form}")
    if command == "save":
        return [sys.executable, "-c", _SAVE, inputs / "model", output / "saved"]
    if command == "predict":
        return [*BGFORMER, "predict", inputs / "model", cells, "-o", target, "--quiet"]
    save = ["--save-model", output / "saved"] if command in ("save-model", "resume") else []
    program = IN_BLOCKS if command == "resume" else BGFORMER
    return [*program, "cluster", cells, "-o", target, *STEPS, *save]


def start(command: list[Any]) -> subprocess.Popen:
    """Start a command whose errors are read."""
    return subprocess.Popen(
        [str(word) for word in command],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str] | None:
    """Return the exit status and what was said on standard error; None if it hangs."""
    try:
        told = process.communicate(timeout=patience())[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
        process.communicate()
        return None
    return process.returncode, told


def whole() -> Whole:
    """Return what whole runs made, once for all cases of a campaign."""
    with _lock:
        return _whole()


@cache
def _whole() -> Whole:
    folder = Path(tempfile.mkdtemp(prefix="campaign-whole-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write_cells(folder)
    _run([*words("save-model", folder, folder), "--seed", "1"])
    for old in (folder / "saved", folder / "out.h5ad"):
        old.rename(old.with_name(f"old-{old.name}"))
    _run(words("save-model", folder, folder))
    (folder / "saved").rename(folder / "model")
    (folder / "out.h5ad").rename(folder / "cluster.h5ad")
    seconds = {}
    for command in ("cluster h5ad", "cluster zarr", "predict h5ad", "save", "resume h5ad"):
        name, _, form = command.partition(" ")
        shutil.rmtree(folder / "saved", ignore_errors=True)  # of the command before
        started = time.monotonic()
        _run(words(name, folder, folder, form or "h5ad"))
        seconds[command] = time.monotonic() - started
        if name in ("predict", "resume"):
            (folder / "out.h5ad").rename(folder / f"{name}.h5ad")
        elif form == "h5ad":
            (folder / "out.h5ad").unlink()
    (folder / "out.zarr").rename(folder / "cluster.zarr")
    return Whole(folder, seconds)


def _run(command: list[Any]) -> None:
    ended = finish(start(command))
    if ended is None or ended[0] != 0:
        raise RuntimeError(f"a run that nothing disturbs fails: {ended}")


def _write_cells(folder: Path) -> None:
    """Write cells in every format; enough of them that writing the output takes a moment."""
    import anndata
    import pandas as pd
    from scipy import io, sparse

    counts = matrices.simulated("types", 600, 100, 0).astype(np.float32)
    adata = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(counts.shape[1])]),
    )
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_zarr(folder / "cells.zarr")
    (folder / "cells").mkdir()
    io.mmwrite(folder / "cells" / "matrix.mtx", sparse.csr_matrix(adata.X.T).astype(int))
    (folder / "cells" / "barcodes.tsv").write_text("\n".join(adata.obs_names) + "\n")
    (folder / "cells" / "genes.tsv").write_text("".join(f"{g}\t{g}\n" for g in adata.var_names))
