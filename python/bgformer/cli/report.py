"""``bgformer report``: the results in a file as a page for a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse

    from anndata import AnnData

    from bgformer.data.source import StoredCells


def report(options: argparse.Namespace) -> None:
    """Write the report; the counts are read a block of cells at a time."""
    from bgformer.data.source import StoredCells, opened
    from bgformer.page.report import checked, written
    from bgformer.store.reading import results

    key, target = options.key_added, checked(options.output)
    with opened(options.input) as cells:
        adata = _without_counts(cells, key) if isinstance(cells, StoredCells) else cells
        results(adata, key)
        written(adata, cells, key, target, options.input, options.layer)


def _without_counts(cells: StoredCells, key: str) -> AnnData:
    """Read the table of cells with its colours, their results and their UMAP."""
    from anndata.io import read_elem

    from bgformer.data.matrices import reading
    from bgformer.store.files import read_results
    from bgformer.store.results import umap_name

    adata = read_results(cells, key, columns=cells.obs.columns)
    place = umap_name(key)
    if place in cells.obsm:
        with reading(f"obsm/{place} of '{cells.filename}'"):
            adata.obsm[place] = read_elem(cells.obsm[place])
    return adata
