"""A folder that R and Python share: R writes counts and a request, Python writes the answer.

All of it is plain arrays and JSON, which R reads and writes without any package for Python's
formats, and a block of cells at a time:

``data`` (float32), ``indices`` (int32), ``indptr`` (float64, as R has no integers of 64 bits)
    Counts by cell, as in a CSR matrix of cells x genes.
``cells`` (text)
    Names of the cells, a line each.
``batch`` (int32)
    Batch of each cell as a code from 0, where the request has batches.
``request.json``
    ``genes`` (names), ``batch_key`` (or null), ``batches`` (names), ``arguments``, ``checkpoint``
    (a folder for the progress of the run, or null).
``answer.json``
    Written last. Each array is in a separate file, in column-major order as R holds it, and
    here as ``{"array": file, "type": "double", "integer" or "raw", "shape": [...]}``.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.store.file_states import contents_of_files

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = "answer.json"
_TYPES = {"double": np.float64, "integer": np.int32, "raw": np.uint8}


class CellsFromR:
    """The counts in such a folder, of which only what is asked for is read.

    Has what counts are found and checked by under the names that AnnData has for it.

    Parameters
    ----------
    folder
        Where R wrote them.
    """

    def __init__(self, folder: Path) -> None:
        request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.arguments: dict[str, Any] = request["arguments"]
        self.batch_key: str | None = request["batch_key"]
        self.checkpoint: str | None = request["checkpoint"]
        self.var_names = pd.Index(request["genes"], dtype=object)
        self.X = _StoredRows(folder, len(self.var_names))
        self.n_obs, self.n_vars = self.X.shape
        self.obs_names = _StoredLines(folder / "cells")
        self.obs = pd.DataFrame(index=pd.RangeIndex(self.n_obs))
        if self.batch_key is not None:
            codes = np.fromfile(folder / "batch", np.int32)
            self.obs[self.batch_key] = pd.Categorical.from_codes(codes, request["batches"])
        self.layers: dict[str, Any] = {}
        self.raw = None
        self.filename: Path | None = None  # none of the user: this folder is ours

    def described(self) -> dict[str, Any]:
        """Return what is the same for the same cells: names, and a checksum of the files."""
        paths = [self.folder / name for name in ("data", "indices", "indptr", "cells")]
        if self.batch_key is not None:
            paths.append(self.folder / "batch")
        return {
            "contents": contents_of_files(paths),
            "genes": list(self.var_names),
            "batch_key": self.batch_key,
            "batches": list(self.obs[self.batch_key].cat.categories) if self.batch_key else [],
        }


class _StoredRows:
    """A CSR matrix on disk that rows are read from; threads may do so at once."""

    format = "csr"

    def __init__(self, folder: Path, n_genes: int) -> None:
        self._data, self._indices = folder / "data", folder / "indices"
        self._indptr = np.fromfile(folder / "indptr", np.float64).astype(np.int64)
        self.shape = (len(self._indptr) - 1, n_genes)

    def __getitem__(self, rows: slice) -> sparse.csr_matrix:
        """Read some rows that follow each other, float32."""
        start, stop, _ = rows.indices(self.shape[0])
        ends = self._indptr[start : stop + 1]
        first, n_values = ends[0], ends[-1] - ends[0]
        data, indices = (
            np.fromfile(path, kind, n_values, offset=4 * first)
            for path, kind in ((self._data, np.float32), (self._indices, np.int32))
        )
        parts = (data, indices, ends - first)
        return sparse.csr_matrix(parts, shape=(stop - start, self.shape[1]))

    def to_memory(self) -> sparse.csr_matrix:
        """Read all rows."""
        return self[:]


class _StoredLines:
    """Unique names, a line each, of which one is read when it is asked for."""

    is_unique = True  # R has looked

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, at: int) -> str:
        """Read a name."""
        with self._path.open(encoding="utf-8", newline="\n") as lines:
            return next(itertools.islice(lines, int(at), None)).rstrip("\n")


def write_answer(folder: Path, answer: dict[str, Any]) -> None:
    """Write what R is to read: numbers, strings, bytes and arrays, in lists and dictionaries.

    Parameters
    ----------
    folder
        Where R will look.
    answer
        As from a function of `bridge`.
    """
    files = itertools.count()

    def plain(value: Any) -> Any:
        """Put what JSON cannot hold into a file, and say where it is."""
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, bytes | bytearray):
            value = np.frombuffer(value, np.uint8)
        elif isinstance(value, float) and not math.isfinite(value):
            value = np.array(value)
        if not isinstance(value, np.ndarray):
            return value
        name = f"array-{next(files)}"
        value.ravel(order="F").tofile(folder / name)
        kind = next(kind for kind, dtype in _TYPES.items() if value.dtype == dtype)
        return {"array": name, "type": kind, "shape": value.shape}

    partial = folder / f"{ANSWER}.partial"
    partial.write_text(json.dumps(plain(answer)), encoding="utf-8")
    partial.replace(folder / ANSWER)
