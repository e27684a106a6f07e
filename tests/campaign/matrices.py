"""Count matrices of every kind in AnnData, mostly valid, with at most two odd things each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from generation import one

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES += ("float16", "float32", "float64", "longdouble", "complex64", "object", ">i4", ">f8")
FORMS = {"csr": 6, "dense": 4, "csc": 2, "fortran": 1, "masked": 1, "csr array": 1}
FORMS |= {"stored zeros": 1, "unsorted": 1, "twice": 1}
VALUES = {
    "negative": -1,
    "half": 0.5,
    "nearly whole": 1 + 1e-9,
    "missing": np.nan,
    "infinite": np.inf,
    "2e9": 2e9,
    "1e19": 1e19,
    "3e38": 3e38,
    "1e300": 1e300,
}
"""Odd values, one of which is put at a random place."""


class Cells(NamedTuple):
    """An AnnData, what its matrix holds as seen by NumPy, and why it must be refused.

    `refused` is for its counts or names, `taken` because results would be written over what is
    not ours, and `masked` because a value is masked.
    """

    adata: Any
    held: np.ndarray
    refused: bool
    taken: bool
    masked: bool


def recipes() -> st.SearchStrategy:
    """Return a strategy of recipes, from which `built` makes the cells."""
    n_cells = st.one_of(st.integers(30, 150), st.integers(20, 40), st.integers(0, 25))
    small = hnp.arrays(
        np.int64,
        st.tuples(st.integers(20, 60), st.integers(2, 30)),
        elements=st.integers(0, 30),
        fill=st.integers(1, 3),
    )
    return st.fixed_dictionaries(
        {
            "cells": n_cells,
            "genes": st.one_of(st.integers(30, 300), st.integers(1, 12)),
            "counts": st.one_of(
                one({"types": 8, "one type": 2, "identical": 1, "copies": 1, "deep": 1}), small
            ),
            "dtype": one({**dict.fromkeys(DTYPES, 1), "float32": 10, "float64": 5, "int64": 3}),
            "form": one(FORMS),
            "odd": st.lists(st.sampled_from([*VALUES, *ODD]), max_size=2, unique=True),
            "seed": st.integers(0, 2**32 - 1),
        }
    )


def simulated(kind: str, n_cells: int, n_genes: int, seed: int) -> np.ndarray:
    """Return counts, cells x genes, of three types of cells or what `kind` says instead."""
    rng = np.random.default_rng(seed)
    n_cells *= 2 if kind == "copies" else 1  # so many that cells alike fill whole neighbourhoods
    n_types = 1 if kind in ("one type", "identical") else 3
    rate = rng.gamma(0.6, 2, (n_types, n_genes)) + 0.05
    of_type = np.sort(rng.integers(n_types, size=n_cells))
    if kind in ("identical", "copies"):
        return rng.poisson(rate + 1)[of_type].astype(float)
    counts = rng.poisson(rate[of_type] * (1000 if kind == "deep" else 1)).astype(float)
    if n_genes:
        counts[:, 0] += 1  # no blank cells: a cell without counts is an odd thing of its own
    return counts


def built(recipe: dict[str, Any], folder: Path) -> Cells:
    """Make the cells of a recipe; raise ValueError where AnnData takes no such matrix."""
    import anndata

    rng = np.random.default_rng(recipe["seed"])
    counts = recipe["counts"]
    if isinstance(counts, str):
        counts = simulated(counts, recipe["cells"], recipe["genes"], recipe["seed"])
    counts = counts.astype(float)
    odd = recipe["odd"]
    for name in odd:
        if name in VALUES and counts.size:
            counts[rng.integers(counts.shape[0]), rng.integers(counts.shape[1])] = VALUES[name]
        elif name == "blank cell" and len(counts):
            counts[rng.integers(len(counts))] = 0
    with np.errstate(all="ignore"):
        typed = counts.astype(recipe["dtype"])
    if "imaginary" in odd and typed.dtype.kind == "c" and typed.size:
        typed[0, 0] += 1j
    if "text" in odd and typed.dtype.kind == "O" and typed.size:
        typed[0, 0] = "many"
    matrix: Any = _formed(typed, recipe["form"])
    masked = recipe["form"] == "masked" and "hidden value" in odd and typed.size > 0
    if masked:
        matrix[0, 0] = np.ma.masked
    adata = anndata.AnnData(
        matrix,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(counts.shape[1])]),
    )
    refused, taken = not _are_counts(typed) or len(counts) < 20, False
    for name in odd:
        if name in ODD and (change := ODD[name]) is not None:
            adata = change(adata, folder) or adata
            refused |= name.startswith("duplicated") and min(counts.shape) > 1
            taken |= name.startswith("foreign")
    return Cells(adata, typed, refused, taken, masked)


def _formed(values: np.ndarray, form: str) -> Any:
    """Return a matrix in a form, or a dense one where SciPy has none of this type."""
    if form == "fortran":
        return np.asfortranarray(values)
    if form == "masked":
        return np.ma.masked_array(values)
    try:
        matrix = sparse.csr_matrix(values)
    except ValueError:
        return values
    if form in ("csc", "csr array"):
        return sparse.csc_matrix(matrix) if form == "csc" else sparse.csr_array(matrix)
    if form == "stored zeros":
        everywhere = np.indices(values.shape).reshape(2, -1)
        return sparse.csr_matrix((values.ravel(), everywhere), shape=values.shape)
    if form == "unsorted":
        for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
            for part in (matrix.indices, matrix.data):
                part[start:stop] = part[start:stop][::-1].copy()
        matrix.has_sorted_indices = False
    if form == "twice" and values.dtype.kind in "iuf":  # each value as two entries, 0 and itself
        data = np.stack([np.zeros_like(matrix.data), matrix.data], axis=1).ravel()
        parts = data, np.repeat(matrix.indices, 2), 2 * matrix.indptr
        matrix = sparse.csr_matrix(parts, shape=values.shape)
    return values if form == "dense" else matrix


def _are_counts(values: np.ndarray) -> bool:
    """Tell whether NumPy finds finite whole numbers in all cells, none negative, no cell blank."""
    if not values.size or any(isinstance(value, str) for value in values.ravel()[:1]):
        return False
    if values.dtype.kind == "c" and values.imag.any():
        return False
    real = (values.real if values.dtype.kind == "c" else values).astype(np.longdouble)
    whole = np.isfinite(real).all() and (real >= 0).all() and (real % 1 == 0).all()
    return bool(whole and real.any(axis=1).all())


def _duplicated(adata: Any, axis: str) -> None:
    names = getattr(adata, f"{axis}_names").to_list()
    names[-1:] = names[:1]
    setattr(adata, f"{axis}_names", names)


def _multi_index(adata: Any, folder: Path) -> None:
    adata.obs.index = pd.MultiIndex.from_tuples([("a", i) for i in range(adata.n_obs)])


def _named_like_cells(adata: Any, folder: Path) -> None:
    letters = np.array(list("ACGT"))
    rows = np.random.default_rng(0).integers(4, size=(adata.n_vars, 16))
    adata.var_names = ["".join(letters[row]) for row in rows]


def _odd_names(adata: Any, folder: Path) -> None:
    odd = ["", " ", "é", "a/b", "名", "x" * 300, "{name}", "%s", "\n"]
    adata.var_names = odd[: adata.n_vars] + [f"g{i}" for i in range(adata.n_vars - len(odd))]
    adata.obs_names = odd[: adata.n_obs] + [f"c{i}" for i in range(adata.n_obs - len(odd))]


def _foreign(place: str, name: str) -> Callable[[Any, Path], None]:
    def put(adata: Any, folder: Path) -> None:
        value = {"obsm": np.ones((adata.n_obs, 2)), "uns": {"mine": 1}}
        getattr(adata, place)[name] = value.get(place, "mine")

    return put


def _backed(adata: Any, folder: Path) -> Any:
    import anndata

    adata.write_h5ad(folder / "backed.h5ad")
    return anndata.read_h5ad(folder / "backed.h5ad", backed="r")


def _integer_names(adata: Any, folder: Path) -> None:
    adata.obs.index = pd.RangeIndex(adata.n_obs)


ODD: dict[str, Any] = {
    "blank cell": None,
    "imaginary": None,
    "text": None,
    "hidden value": None,
    "duplicated cells": lambda adata, _: _duplicated(adata, "obs"),
    "duplicated genes": lambda adata, _: _duplicated(adata, "var"),
    "genes named like cells": _named_like_cells,
    "odd names": _odd_names,
    "integer names": _integer_names,
    "multi-index": _multi_index,
    "foreign column": _foreign("obs", "bgformer"),
    "foreign confidence": _foreign("obs", "bgformer_confidence"),
    "foreign uns": _foreign("uns", "bgformer"),
    "foreign latent": _foreign("obsm", "X_bgformer"),
    "foreign weights": _foreign("obsm", "bgformer_anchors"),
    "view": lambda adata, _: adata[:, :],
    "backed": _backed,
}
