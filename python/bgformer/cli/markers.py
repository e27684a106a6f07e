"""``bgformer markers``: the marker genes of the clusters in a file, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgformer.cli.outputs import check_table

# All else is imported where it is used: --help and a mistyped option need not wait for torch.
if TYPE_CHECKING:
    import argparse


def markers(options: argparse.Namespace) -> None:
    """Write the table of marker genes; the counts are read a block of cells at a time."""
    check_table(options, force=options.force)
    import numpy as np

    from bgformer.arguments import whole
    from bgformer.data.source import opened
    from bgformer.store.replacing import written_beside
    from bgformer.store.tables import write_csv
    from bgformer.tl.marker_genes import table_of, tests_in
    from bgformer.tl.profiling import read_profiles

    n_genes = None if options.n_genes is None else whole("n_genes", options.n_genes)
    with written_beside(options.csv, options.input) as table, opened(options.input) as cells:
        profiles = read_profiles(cells, options.cluster_name, options.layer)
        found = table_of(profiles, tests_in(profiles), n_genes)
        names = {"cluster": profiles.obs_names, "gene": profiles.var_names}
        columns = {column: of.to_numpy()[found.pop(column)] for column, of in names.items()}
        for column, values in found.items():  # p-values can be too small for single precision
            columns[column] = values if column[0] == "p" else values.astype(np.float32)
        write_csv(table, columns, options.csv)
