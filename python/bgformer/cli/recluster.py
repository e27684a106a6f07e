"""``bgformer recluster``: other clusters from stored results, without the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgformer.cli.outputs import check_outputs, opened
from bgformer.messages import InputError

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse


def recluster(options: argparse.Namespace) -> None:
    """Cluster the cells of a file again as their stored results allow, and write them."""
    from bgformer.store import persistence

    if persistence.holds_model(options.input):
        raise InputError(
            "model-for-cells",
            "'{path}' is a saved model, without a file of cells to write the clusters into; give "
            "the .h5ad file or .zarr store with the results of bgformer cluster or predict.",
            path=options.input,
        )
    check_outputs(options)
    from bgformer import tl
    from bgformer.data import parts
    from bgformer.data.source import StoredCells
    from bgformer.runtime.progress import say
    from bgformer.store import files
    from bgformer.store.looks import colours_name, unassigned_in
    from bgformer.store.results import confidence_name

    key = options.key_added
    name = key if options.cluster_name is None else options.cluster_name
    asked = {
        given: vars(options)[given] for given in ("resolution", "n_clusters") if given in options
    }
    with opened(options) as (cells, partial, write_table):
        is_stored = isinstance(cells, StoredCells)
        adata = files.read_results(cells, key) if is_stored else cells
        before = dict(tl.results(adata, key))
        tl.recluster(adata, **asked, cluster_name=options.cluster_name, key_added=key)
        columns = {column: adata.obs[column].values for column in (name, confidence_name(name))}
        if partial is not None and is_stored:
            now = adata.uns[key]
            changed = {part: now[part] for part in now if now[part] is not before.get(part)}
            parts.check_parts(options.input)
            with files.StoredResults(options.input, partial, key, options.output) as stored:
                colours = colours_name(name)
                stored.describe(columns, {colours: adata.uns[colours]})
                stored.update(key, changed)
        elif partial is not None:
            files.write_cells(adata, partial, options.output)
        write_table(columns)
    apart = unassigned_in(adata.obs, key, adata.uns[key])
    n_apart = 0 if apart is None else int(apart.sum())
    n_clusters = len(columns[name].categories) - (n_apart > 0)
    said = f"{n_clusters} cluster{'' if n_clusters == 1 else 's'}"
    said += f", {n_apart} unassigned" if n_apart else ""
    say(said, verbose=not options.quiet)
