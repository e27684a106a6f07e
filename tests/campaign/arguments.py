"""Calls of every public function with arguments of every kind, at most two of them odd."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import matrices
from generation import one
from inputs import matrices_of, shell
from outcomes import (
    SKIPPED,
    WORKS,
    WRONG,
    Outcome,
    check_labels,
    check_probabilities,
    check_results,
    checked,
    outcome_of,
    require,
)
from values import CALLS, ODD, PLACES, WITHOUT_END

_FIGURES = {
    "pl.embedding": 3, "pl.markers": 2, "pl.evidence": 2, "pl.resolution": 2, "pl.tree": 2,
}  # fmt: skip


def cases() -> st.SearchStrategy:
    """Return a strategy of calls: name, valid arguments, and odd ones that replace them."""
    weights = {name: _FIGURES.get(name, 4) for name in CALLS} | {"tl.cluster": 12, "fit": 8}
    return one(weights).flatmap(_calls_of)


def _calls_of(name: str) -> st.SearchStrategy:
    valid = {
        argument: st.sampled_from(values)
        for argument, values in CALLS[name].items()
        if values != ()
    }
    odd = st.lists(
        st.sampled_from(list(CALLS[name])).flatmap(
            lambda argument: st.tuples(st.just(argument), st.sampled_from(_odd_for(argument)))
        ),
        min_size=1,
        max_size=2,
    )
    return st.fixed_dictionaries(
        {
            "call": st.just(name),
            "valid": st.fixed_dictionaries({}, optional=valid),
            "odd": one({"": 1, "odd": 2}).flatmap(lambda w: odd if w else st.just([])),
        }
    )


def _odd_for(argument: str) -> list[Any]:
    most = WITHOUT_END.get(argument)
    if most is None:
        return list(ODD)
    return [v for v in ODD if not (isinstance(v, int | float) and most < v < 10**399)]


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Make the call and return how it ended."""
    name = case["call"]
    given = case["valid"] | dict(case["odd"])
    given = {key: _placed(value, folder) for key, value in given.items()}
    if name.startswith("shell"):
        return _in_shell(name.split()[1], given, folder)
    place = next((key for key in ("adata", "source") if key in CALLS[name]), None)
    adata = clustered().copy()
    if place and place not in given:
        given[place] = adata
    before = adata.obs.copy(), dict(adata.obsm), dict(adata.uns)
    outcome = outcome_of(lambda: _CHECKS[name](given, folder), tuple(CALLS[name]))
    if outcome.end != WORKS and adata is given.get(place):
        same = adata.obs.equals(before[0]) and set(adata.obsm) == set(before[1])
        if not (same and set(adata.uns) == set(before[2])):
            return Outcome(WRONG, f"a failed call changed adata: {outcome}")
    return outcome


def _placed(value: Any, folder: Path) -> Any:
    """Put what a case names in its folder, and return a value as it is otherwise."""
    if not isinstance(value, str) or value not in PLACES:
        return value
    if value == "model":
        fitted().save(folder / "model")
    elif value == "file":
        (folder / "file").write_text("mine")
    elif value == "folder":
        (folder / "folder").mkdir()
        (folder / "folder" / "mine.txt").write_text("mine")
    return folder / value


@cache
def clustered() -> Any:
    """Return the cells that all calls start from, with results."""
    import anndata
    from scipy import sparse

    import bgformer as bgf

    counts = matrices.simulated("types", 60, 50, 0)
    adata = anndata.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"batch": ["ab"[i % 2] for i in range(60)], "type": np.arange(60) % 3},
            index=[f"c{i}" for i in range(60)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(50)]),
    )
    adata.layers["counts"] = adata.X.copy()
    bgf.tl.cluster(adata, max_steps=2, verbose=False)
    return adata


@cache
def fitted() -> Any:
    """Return a model that was fitted to these cells."""
    import bgformer as bgf

    return bgf.BGFormer(max_steps=2, verbose=False).fit(clustered())


def _cluster(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    returned = bgf.tl.cluster(**{"max_steps": 2, "verbose": False} | given)
    adata = given["adata"] if returned is None else returned
    key = given.get("key_added", "bgformer")
    check_results(adata, key)
    wanted = given.get("n_clusters", "auto")
    if wanted != "auto":
        require(adata.uns[key]["n_clusters"] == wanted, "not the number of clusters asked for")


def _recluster(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    returned = bgf.tl.recluster(**given)
    adata = given["adata"] if returned is None else returned
    name = given.get("cluster_name") or given.get("key_added", "bgformer")
    check_labels(adata.obs[name], adata.obs[f"{name}_confidence"], adata.n_obs)
    wanted = given.get("n_clusters", "auto")
    if wanted != "auto":
        require(adata.obs[name].nunique() == wanted, "not the number of clusters asked for")


def _resolutions(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    table = bgf.tl.resolutions(**given)
    require(bool(np.isfinite(table.to_numpy(float)).all()), "the table is not finite")
    wanted = given.get("resolutions")
    require(wanted is None or len(table) == len(list(wanted)), "not one row per resolution")


def _tree(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    nodes, edges = bgf.tl.tree(**given)
    check_probabilities(edges["share"])
    n_cells = nodes.groupby("resolution")["n_cells"].sum()
    require(bool((n_cells == given["adata"].n_obs).all()), "not all cells at each resolution")


def _markers(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    returned = bgf.tl.markers(**{"cluster_name": "type"} | given)
    adata = given["adata"] if returned is None else returned
    adata.write_h5ad(folder / "markers.h5ad")
    found = adata.uns[given.get("key_added", "rank_genes_groups")]
    for name in found["names"].dtype.names:
        require(set(found["names"][name]) == set(adata.var_names), "not every gene once")
        require(bool(np.isfinite(found["scores"][name]).all()), "the scores are not finite")
        check_probabilities(found["pvals_adj"][name])


def _profiles(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    found = bgf.tl.profiles(**given)
    require(int(found.obs["n_cells"].sum()) == given["adata"].n_obs, "not all cells")
    require(bool(np.isfinite(found.X).all()), "the means are not finite")
    check_probabilities(found.layers["detected"].ravel())


def _fit(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    given = dict(given)
    to_fit = {key: given.pop(key) for key in ("adata", "layer", "batch_key") if key in given}
    model = bgf.BGFormer(**{"max_steps": 2, "verbose": False} | given)
    model.fit(**to_fit)
    labels = model.predict(to_fit["adata"], layer=to_fit.get("layer"))
    n_clusters = model.partition_.n_clusters
    require(bool(((labels >= 0) & (labels < n_clusters)).all()), "labels outside the clusters")
    require(bool(np.isfinite(model.latent_).all()), "the latent is not finite")


def _predict(given: dict[str, Any], folder: Path) -> None:
    labels = fitted().predict(**given)
    require(np.array_equal(labels, fitted().predict(**given)), "a second run differs")
    require(len(labels) == 60, "not one label for each cell")


def _embed(given: dict[str, Any], folder: Path) -> None:
    latent = fitted().embed(**given)
    require(latent.shape == (60, 32) and bool(np.isfinite(latent).all()), "no finite latent")


def _confidence(given: dict[str, Any], folder: Path) -> None:
    check_probabilities(fitted().confidence(**given))


def _model_recluster(given: dict[str, Any], folder: Path) -> None:
    model = copy.copy(fitted())
    found = model.recluster(**given)
    wanted = given.get("n_clusters")
    require(wanted is None or found.n_clusters == wanted, "not the number of clusters asked for")


def _save(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    others = {p: p.read_bytes() for p in folder.rglob("*") if p.name in ("file", "mine.txt")}
    if not isinstance(given.get("directory", folder), Path):
        given = given | {"directory": _inside(given["directory"], folder)}
    try:
        fitted().save(**{"directory": folder / "saved"} | given)
    finally:
        for path, text in others.items():
            require(path.exists() and path.read_bytes() == text, f"overwrote {path.name}")
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        require(not left, f"left behind: {left}")
    loaded = bgf.BGFormer.load(given.get("directory", folder / "saved"))
    cells = clustered()
    require(np.array_equal(loaded.predict(cells), fitted().predict(cells)), "another model")


def _inside(value: Any, folder: Path) -> Any:
    """Keep a relative name within the folder of the case."""
    return folder / value if isinstance(value, str) and value != "/" else value


def _load(given: dict[str, Any], folder: Path) -> None:
    import bgformer as bgf

    if "directory" not in given:
        given = given | {"directory": _placed("model", folder)}
    loaded = bgf.BGFormer.load(**given)
    cells = clustered()
    require(np.array_equal(loaded.predict(cells), fitted().predict(cells)), "another model")


def _plot(name: str) -> Callable[[dict[str, Any], Path], None]:
    def draw(given: dict[str, Any], folder: Path) -> None:
        import bgformer as bgf

        if isinstance(given.get("save"), str):
            given = given | {"save": _inside(given["save"], folder)}
        defaults = {"markers": {"markers": ["g3"]}, "resolution": {"resolutions": [1]}}
        getattr(bgf.pl, name)(**defaults.get(name, {}) | given)
        if isinstance(given.get("save"), Path):
            require(any(folder.rglob("*.p*")), "no file was written")

    return draw


_CHECKS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "tl.cluster": _cluster,
    "tl.recluster": _recluster,
    "tl.resolutions": _resolutions,
    "tl.tree": _tree,
    "tl.markers": _markers,
    "tl.profiles": _profiles,
    "fit": _fit,
    "predict": _predict,
    "embed": _embed,
    "confidence": _confidence,
    "recluster": _model_recluster,
    "save": _save,
    "load": _load,
    **{f"pl.{name}": _plot(name) for name in ("embedding", "markers", "evidence")},
    **{f"pl.{name}": _plot(name) for name in ("resolution", "tree", "training")},
}


def _in_shell(command: str, given: dict[str, Any], folder: Path) -> Outcome:
    """Run a command with options as text, on a file."""
    import anndata

    adata = clustered().copy()
    adata.obs = adata.obs[["batch", "type"]]
    adata.uns.clear()
    adata.obsm.clear()
    source, target = folder / "cells.h5ad", folder / "out.h5ad"
    adata.write_h5ad(source)
    before = matrices_of(source)
    words: list[Any] = [command, *([fitted_folder(folder)] if command == "predict" else [])]
    words += [source, "-o", target, "--quiet"]
    if command == "cluster" and "max_steps" not in given:
        words += ["--max-steps", 2]
    offered = {"n_latent"}  # settings that the command does not have
    for key, value in given.items():
        if value is not None and key not in offered:
            words += [f"--{key.replace('_', '-')}", value]
    if any("\0" in str(word) for word in words):
        return Outcome(SKIPPED, "no shell passes a zero byte on")
    outcome = shell(words, tuple(CALLS[f"shell {command}"]))
    if outcome is None:
        key = "bgformer" if given.get("key_added") is None else str(given["key_added"])
        outcome = checked(lambda: check_results(anndata.read_h5ad(target), key))
    left = {path.name for path in folder.iterdir()} - {"cells.h5ad", "model"}
    if left - ({"out.h5ad"} if outcome.end in (WORKS, WRONG) else set()):
        return Outcome(WRONG, f"left behind: {sorted(left)}; {outcome}")
    if matrices_of(source) != before:
        return Outcome(WRONG, f"the input file was changed; {outcome}")
    return outcome


def fitted_folder(folder: Path) -> Path:
    """Save the model of the campaign into a folder and return where."""
    return _placed("model", folder)
