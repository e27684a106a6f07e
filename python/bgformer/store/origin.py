"""Which results clusters come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from scipy import sparse

from bgformer.messages import InputError
from bgformer.runtime.threads import one_thread
from bgformer.store.files import read_results
from bgformer.store.reading import is_ours
from bgformer.store.reference import model_in
from bgformer.store.results import weights_name

if TYPE_CHECKING:
    from bgformer.data.source import StoredCells
    from bgformer.pipeline.fitted import Fitted

_DEFAULT = "bgformer"
"""Name of results for which no other was chosen."""


def origin(adata: AnnData, name: str) -> str:
    """Return the name of the results that clusters or subclusters are from."""
    stored = adata.uns.get(name)
    return str(stored["key"]) if are_subclusters(stored) else name


def are_subclusters(stored: object) -> bool:
    """Tell whether an entry of ``uns`` is of :func:`bgformer.tl.subcluster`."""
    return isinstance(stored, Mapping) and {"key", "splits", "evidence"} <= set(stored)


def entry(cells: AnnData | StoredCells, name: str) -> Any:
    """Return an entry of ``uns`` of an AnnData or of an open file; None if there is none."""
    return cells.uns.get(name) if isinstance(cells, AnnData) else cells.read_uns(name)


def model_behind(
    cells: AnnData | StoredCells, name: str
) -> tuple[Fitted, sparse.csr_matrix] | None:
    """Return a model by whose anchors the clusters of cells can be told, and the cells' weights.

    That is any model with results of the same cells.

    Parameters
    ----------
    cells
        The cells; of an open file, the counts are not read.
    name
        Column of ``obs`` with the clusters.

    Returns
    -------
    The model, without cells, of the results that the clusters are from, or that they are parts of;
    else of the results with the default name; else of the only ones there are. None if there are
    none, or if they are damaged or of other cells.
    """
    own = entry(cells, name)
    wanted = [str(own["key"]) if are_subclusters(own) else name, _DEFAULT]
    there = [key for key, stored in cells.uns.items() if is_ours(stored)]
    key = next((key for key in wanted if key in there), there[0] if len(there) == 1 else None)
    if key is None:
        return None
    try:
        held = cells if isinstance(cells, AnnData) else read_results(cells, key)
        with one_thread():  # many small tensors, for which several take longer
            model = model_in(held, key)
        return model, sparse.csr_matrix(held.obsm[weights_name(key)])
    except InputError:
        return None
