"""What every source of cells offers, wherever the cells are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

PARTS = {"X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"}
"""What an AnnData in a file or a store consists of."""


class Cells(Protocol):
    """Cells x genes: an AnnData, an open file, or counts that R wrote, under AnnData's names.

    Attributes
    ----------
    X, layers, raw
        Matrices that may hold counts, in memory or on disk.
    obs
        Table of the cells, whose columns are read by name.
    obs_names, var_names
        Names of the cells and of the genes.
    n_obs, n_vars
        Number of cells and of genes.
    filename
        The file that the matrices are read from; None if they are in memory.
    """

    X: Any
    layers: Any
    raw: Any
    obs: Any
    obs_names: Any
    var_names: pd.Index
    n_obs: int
    n_vars: int
    filename: Path | None
