"""Damaged files of every format, and damaged models: refused by name, or read without harm."""

import gzip
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import arguments
from corruption import ARRAYS, BYTES, damage
from generation import one
from inputs import matrices_of, shell
from outcomes import WORKS, WRONG, Outcome, check_results, checked, outcome_of, require

FORMATS = {"h5ad": 4, "zarr": 3, "h5": 2, "mtx": 1, "mtx.gz": 1, "model": 4}


def cases() -> st.SearchStrategy:
    """Return a strategy of a format, a kind of damage, and the seed of where it is."""
    return one(FORMATS).flatmap(
        lambda form: st.fixed_dictionaries(
            {
                "form": st.just(form),
                "damage": st.sampled_from(_kinds_of(form)),
                "seed": st.integers(0, 2**32 - 1),
                "python": st.booleans(),
            }
        )
    )


def _kinds_of(form: str) -> tuple[str, ...]:
    if form in ("h5ad", "zarr", "h5"):
        return BYTES + 2 * ARRAYS
    if form == "model":
        return (*BYTES, *3 * ("description",), *3 * ("tensor NaN", "tensor shifted", "tensor cut"))
    return (*BYTES, *3 * ("entry",))


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Damage a copy, use it, and return how that ended."""
    form, rng = case["form"], random.Random(case["seed"])
    name = {"h5ad": "cells.h5ad", "zarr": "cells.zarr", "h5": "cells.h5"}.get(form, "cells")
    source = folder / ("model" if form == "model" else name)
    _write(source, form)
    whole = matrices_of(source)
    what = damage(source, form, case["damage"], rng)
    before = matrices_of(source)
    if form == "model":
        outcome = _use_model(source, folder, case["python"], before == whole)
    elif case["python"]:
        outcome = outcome_of(lambda: _fit(source))
    else:
        outcome = _cluster(source, folder)
    # zarr takes a chunk that is not there for zeros, without a word
    is_chunk = re.match(r"remove in cells\.zarr/X/.*/\d+$", what)
    if is_chunk and outcome.end == WORKS:
        outcome = Outcome(WRONG, "a part of the counts is missing and was taken for zeros")
    if matrices_of(source) != before:
        return Outcome(WRONG, f"{what}: the input was changed; {outcome}")
    left = {path.name for path in folder.iterdir()} - {source.name, "new.h5ad"}
    if left - ({"out.h5ad", "out.zarr"} if outcome.end in (WORKS, WRONG) else set()):
        return Outcome(WRONG, f"{what}: left behind: {sorted(left)}; {outcome}")
    return outcome._replace(detail=f"{what}: {outcome.detail}")


def _fit(source: Path) -> None:
    import bgformer as bgf

    model = bgf.BGFormer(max_steps=1, verbose=False).fit(source)
    require(bool(np.isfinite(model.latent_).all()), "the latent is not finite")
    require(len(model.labels_) == model.latent_.shape[0], "not one label for each cell")


def _cluster(source: Path, folder: Path) -> Outcome:
    """Cluster by the command; the output must hold what can be read of the input."""
    import anndata

    from bgformer.data.readers import read

    target = folder / ("out.zarr" if source.suffix == ".zarr" else "out.h5ad")
    outcome = shell(["cluster", source, "-o", target, "--max-steps", 1, "--quiet"])
    if outcome is not None:
        return outcome

    def check() -> None:
        reader = anndata.read_zarr if target.suffix == ".zarr" else anndata.read_h5ad
        try:
            found = reader(target)
        except Exception as error:
            require(False, f"exit status 0, but anndata cannot read the output: {error}")
        check_results(found)
        held = read(source)
        require(found.shape == held.shape, "the output has another shape")
        require((found.X != held.X).sum() == 0, "the output holds other counts")

    return checked(check)


def _use_model(model: Path, folder: Path, python: bool, is_whole: bool) -> Outcome:
    """Label cells by a damaged model: refused, or the labels of the whole one."""
    import anndata

    import bgformer as bgf

    new, target = folder / "new.h5ad", folder / "out.h5ad"
    cells = arguments.clustered()
    expected = _expected()

    def check_python() -> None:
        found = bgf.BGFormer.load(model)
        found = found.predict(cells), found.embed(cells), found.confidence(cells)
        same = all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        require(same, "a damaged model gives other results")

    if python:
        return outcome_of(check_python)
    plain = anndata.AnnData(cells.X, obs=cells.obs[["type"]], var=cells.var)
    plain.write_h5ad(new)
    outcome = shell(["predict", model, new, "-o", target, "--quiet"])

    def check() -> None:
        found = anndata.read_h5ad(target)
        labels = found.obs["bgformer"].astype(str)
        known = (labels != "unassigned").to_numpy()
        same = np.array_equal(labels[known].astype(int), expected[0][known])
        same &= np.array_equal(found.obsm["X_bgformer"], expected[1])
        same &= np.array_equal(found.obs["bgformer_outlier"], _expected_scores())
        require(same, "a damaged model gives other results")

    return checked(check) if outcome is None else outcome


@cache
def _expected() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    model, cells = arguments.fitted(), arguments.clustered()
    return model.predict(cells), model.embed(cells), model.confidence(cells)


@cache
def _expected_scores() -> np.ndarray:
    import bgformer as bgf

    cells = arguments.clustered()
    found = bgf.tl.predict(cells, arguments.fitted(), key_added="new", copy=True)
    return found.obs["new_outlier"].to_numpy()


def _write(source: Path, form: str) -> None:
    """Write the cells in a format, or the model."""
    import h5py
    import zarr
    from anndata.io import write_elem
    from scipy import io, sparse

    cells = arguments.clustered()
    if form == "model":
        arguments.fitted().save(source)
    elif form in ("h5ad", "zarr"):
        cells = cells.copy()
        cells.obsm = {"X_pca": np.ones((cells.n_obs, 3))}
        cells.uns = {"note": "kept", "colors": np.array(["red", "blue"])}
        cells.obs = cells.obs[["batch", "type"]].astype({"batch": "category"})
        getattr(cells, f"write_{form}")(source)
        if form == "zarr":  # in several chunks, as that of a larger matrix
            store = zarr.open_group(source, mode="r+", use_consolidated=False)
            write_elem(store, "X", cells.X, dataset_kwargs={"chunks": (500,)})
            zarr.consolidate_metadata(source)
    elif form == "h5":
        counts = sparse.csc_matrix(cells.X.T)
        with h5py.File(source, "w") as file:
            group = file.create_group("matrix")
            for name in ("data", "indices", "indptr"):
                values = getattr(counts, name).astype("i4" if name == "data" else "i8")
                group[name] = values
            group["shape"] = np.array(counts.shape, "i4")
            group["barcodes"] = np.array(cells.obs_names, "S")
            for name in ("id", "name"):
                group[f"features/{name}"] = np.array(cells.var_names, "S")
            group["features/feature_type"] = np.array([b"Gene Expression"] * cells.n_vars)
            group["features/genome"] = np.array([b"GRCh38"] * cells.n_vars)
    else:
        source.mkdir()
        io.mmwrite(source / "matrix.mtx", sparse.csr_matrix(cells.X.T).astype(int))
        (source / "barcodes.tsv").write_text("\n".join(cells.obs_names) + "\n")
        genes = "".join(f"{g}\t{g}\tGene Expression\n" for g in cells.var_names)
        (source / "features.tsv").write_text(genes)
        if form == "mtx.gz":
            for path in list(source.iterdir()):
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
