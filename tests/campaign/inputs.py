"""Generated matrices through Python and the shell: what each run must hold when it works."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import matrices
from generation import one
from outcomes import (
    FOREIGN,
    SENTENCE,
    SKIPPED,
    TRACEBACK,
    UNCLEAR,
    WORKS,
    WRONG,
    Outcome,
    check_probabilities,
    check_results,
    checked,
    of_exception,
    of_shell,
    outcome_of,
    require,
    same_results,
)

_EXACT = 2**24
"""Up to here, float32 holds every whole number."""
_PLAIN_ODD = ("view", "backed", "odd names", "integer names")


def cases() -> st.SearchStrategy:
    """Return a strategy of recipes of cells, and of the way that they take."""
    return st.fixed_dictionaries(
        {
            "cells": matrices.recipes(),
            "way": one({"tl": 3, "model": 2, "h5ad": 3, "zarr": 1}),
            "layer": one({"": 5, "counts": 1}),
            "batch": one({"": 6, "good": 2, "missing": 1, "one each": 1, "numbers": 1}),
            "steps": st.integers(1, 3),
        }
    )


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Run one case in this process and return how it ended."""
    try:
        cells = matrices.built(case["cells"], folder)
        _add(cells.adata, case)
        if case["way"] in ("h5ad", "zarr"):
            source = folder / f"cells.{case['way']}"
            getattr(cells.adata, f"write_{case['way']}")(source)
    except Exception as error:  # AnnData's own refusal: no such input can reach bgformer
        return Outcome(SKIPPED, f"{type(error).__name__}: {error}")
    if case["way"] in ("h5ad", "zarr"):
        outcome = _in_shell(case, cells, source)
    else:
        before = _state(cells.adata)
        way = _by_tl if case["way"] == "tl" else _by_model
        outcome = outcome_of(lambda: way(case, cells), ("layer", "batch_key", "key_added"))
        kept = outcome.end == WORKS and case["way"] == "tl"
        if not kept and _state(cells.adata) != before:
            return Outcome(WRONG, f"the input was changed; {outcome}")
    refused = cells.refused or (cells.taken and case["way"] != "model")  # which writes no results
    refused |= cells.masked and case["way"] in ("tl", "model")  # no file holds a mask
    refused |= case["batch"] in ("missing", "one each")
    if outcome.end == WORKS and refused:
        return Outcome(WRONG, "accepted what are not counts, or wrote over what is not ours")
    if outcome.end == SENTENCE and not refused and _is_plain(case):
        return Outcome(WRONG, f"refused although nothing is odd: {outcome.detail}")
    return outcome


def _add(adata: Any, case: dict[str, Any]) -> None:
    """Add a layer and batches."""
    if case["layer"]:
        adata.layers[case["layer"]] = adata.X.copy()
    n = adata.n_obs
    columns: dict[str, list] = {
        "good": ["ab"[i % 2] for i in range(n)],
        "missing": [None if i == 1 else "a" for i in range(n)],
        "one each": [f"b{i}" for i in range(n)],
        "numbers": [i % 2 for i in range(n)],
    }
    if case["batch"]:
        adata.obs["batch"] = columns[case["batch"]]


def _is_plain(case: dict[str, Any]) -> bool:
    """Tell whether there is nothing odd about a case at all."""
    cells = case["cells"]
    return (
        all(name in ("view", "backed") for name in cells["odd"])
        and cells["dtype"] in ("float32", "float64", "int32", "int64")
        and str(cells["counts"]) in ("types", "one type", "deep")
        and cells["genes"] >= 30
        and cells["cells"] >= 40
    )


def _asked(case: dict[str, Any]) -> dict[str, Any]:
    return {"layer": case["layer"] or None, "batch_key": "batch" if case["batch"] else None}


def _by_tl(case: dict[str, Any], cells: matrices.Cells) -> None:
    import bgformer as bgf

    steps = case["steps"]
    bgf.tl.cluster(cells.adata, **_asked(case), max_steps=steps, verbose=False)
    check_results(cells.adata)
    _check_like_plain(case, cells, cells.adata)


def _by_model(case: dict[str, Any], cells: matrices.Cells) -> None:
    import bgformer as bgf

    model = bgf.BGFormer(max_steps=case["steps"], verbose=False)
    model.fit(cells.adata, **_asked(case))
    labels = model.predict(cells.adata, layer=_asked(case)["layer"])
    n_clusters = model.partition_.n_clusters
    require(len(labels) == len(model.labels_) == len(cells.held), "not one label for each cell")
    require(bool(((labels >= 0) & (labels < n_clusters)).all()), "labels outside the clusters")
    check_probabilities(model.confidence(cells.adata, layer=_asked(case)["layer"]))
    require(bool(np.isfinite(model.latent_).all()), "the latent is not finite")


def _in_shell(case: dict[str, Any], cells: matrices.Cells, source: Path) -> Outcome:
    """Cluster a file by the command, in this process."""
    import anndata

    before = matrices_of(source)
    target = source.with_stem("out")
    words = ["cluster", source, "-o", target, "--max-steps", case["steps"], "--quiet"]
    words += ["--layer", case["layer"]] if case["layer"] else []
    words += ["--batch-key", "batch"] if case["batch"] else []
    names_before = {path.name for path in source.parent.iterdir()}
    outcome = shell(words)

    def check() -> None:
        found = getattr(anndata, f"read_{case['way']}")(target)
        check_results(found)
        require(_dense_equal(found.X, cells.held), "the output holds other counts")
        _check_like_plain(case, cells, found)

    if outcome is None:
        outcome = checked(check)
        names_before.add(target.name)
    if matrices_of(source) != before:
        return Outcome(WRONG, f"the input file was changed; {outcome}")
    if left := {path.name for path in source.parent.iterdir()} - names_before:
        return Outcome(WRONG, f"left behind: {sorted(left)}; {outcome}")
    return outcome


def matrices_of(path: Path) -> dict[str, bytes]:
    """Return all bytes of a file or a folder, by name."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file): file.read_bytes() for file in files}


def shell(words: list[Any], names: tuple[str, ...] = ()) -> Outcome | None:
    """Run the command in this process; return how it failed, or None.

    `names` are those of the arguments.
    """
    from bgformer.cli import main

    told = _Heard()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            status = main([str(word) for word in words])
    except SystemExit as stopped:  # how argparse leaves
        status, told.error = stopped.code if isinstance(stopped.code, int) else 1, None
    except Exception as error:
        # an error that the command does not catch ends the process with a traceback
        return of_exception(error, ())._replace(end=TRACEBACK)
    outcome = of_shell(status, told.getvalue(), names)
    is_one_line = outcome is not None and outcome.end in (SENTENCE, UNCLEAR)
    if is_one_line and told.error is not None:
        raised = of_exception(told.error, ())
        if raised.end == TRACEBACK:  # that of another package, which the command passes on
            return Outcome(FOREIGN, raised.detail)
    return outcome


class _Heard(io.StringIO):
    """A standard error that also keeps the exception that is being handled when it is written."""

    error: Exception | None = None

    def write(self, text: str) -> int:
        found = sys.exc_info()[1]
        if isinstance(found, Exception):
            self.error = found
        return super().write(text)


def _dense_equal(matrix: Any, held: np.ndarray) -> bool:
    dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    return bool(np.array_equal(dense.astype(complex), held.astype(complex)))


def _check_like_plain(case: dict[str, Any], cells: matrices.Cells, found: Any) -> None:
    """Check that the same counts in the plainest form have the same clusters, to the bit."""
    import anndata
    from scipy import sparse

    import bgformer as bgf

    held = cells.held.real.astype(float)
    if held.max() > _EXACT or case["cells"]["seed"] % 3:  # a third of the cases, for time
        return
    plain = anndata.AnnData(sparse.csr_matrix(held.astype(np.float32)))
    asked = _asked(case) | {"layer": None}
    if case["batch"]:
        plain.obs["batch"] = found.obs["batch"].to_numpy()
    bgf.tl.cluster(plain, **asked, max_steps=case["steps"], verbose=False)
    require(same_results(found, plain), "another form of the same counts has other clusters")


def _state(adata: Any) -> tuple:
    """Return what must not change: counts, tables, names and the keys of the rest."""
    parts = [adata.X, *(adata.layers[name] for name in adata.layers)]
    data = []
    for part in parts:
        matrix = part[:] if adata.isbacked else part
        arrays = [matrix.data, matrix.indices] if hasattr(matrix, "indices") else [matrix]
        data += [np.ma.getdata(array).tolist() for array in map(np.asanyarray, arrays)]
    keys = [sorted(part) for part in (adata.obsm, adata.uns, adata.layers, adata.obsp)]
    return repr(data), adata.obs.to_csv(), adata.var.to_csv(), keys
