"""Where clusters that are drawn come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def origin(adata: AnnData, name: str) -> str:
    """Return the name of the results that clusters or subclusters are from."""
    stored = adata.uns.get(name)
    return str(stored["key"]) if are_subclusters(stored) else name


def are_subclusters(stored: object) -> bool:
    """Tell whether an entry of ``uns`` is of :func:`bgformer.tl.subcluster`."""
    return isinstance(stored, Mapping) and {"key", "splits", "evidence"} <= set(stored)
