"""New cells of a fitted model: their counts in its genes, and how unlike its cells they are."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bgformer.data.counts import with_size_factors
from bgformer.data.genes import cut_genes, match_genes
from bgformer.data.source import source_of
from bgformer.graph import outliers
from bgformer.graph.outliers import Scored
from bgformer.graph.thinning import Half, halves
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.data.counts import CountData
    from bgformer.pipeline.fitted import Fitted

_POOLED = 20_000
"""Maximum number of new cells that the others are compared with; they are held in memory."""
_MANY = 0.1
"""Share of unassigned cells from which there is a warning."""


class ModelGenes:
    """The genes of a model among those of cells.

    Parameters
    ----------
    model
        The model.
    columns
        Column of each gene of the model, negative where it is missing, shape (g,).

    Attributes
    ----------
    keep
        False for genes that were not measured, shape (g,); None if all were.
    """

    def __init__(self, model: Fitted, columns: np.ndarray) -> None:
        self._columns = columns
        measured = columns >= 0
        self.keep = None if measured.all() else measured
        # If genes are missing, size factors refer to the median counts in the remaining genes.
        expected = model.network.gene_mean.cpu().numpy()
        share = 1.0 if self.keep is None else expected[measured].sum() / expected.sum()
        self._median_counts = model.median_counts * share

    def of(self, counts: sparse.csr_matrix) -> CountData:
        """Return counts in the genes of the model."""
        batch = np.zeros(counts.shape[0], dtype=np.int64)  # only the decoder needs it
        return with_size_factors(cut_genes(counts, self._columns), batch, self._median_counts)


class NewCells:
    """Counts of n new cells in the genes of a model; genes are matched by name.

    Missing genes cause a warning, and are treated as not measured.

    Parameters
    ----------
    model
        The model.
    cells
        The cells, with raw counts.
    layer
        Layer that holds the counts; None for ``X``.

    Attributes
    ----------
    names
        Names of the cells.
    keep
        As in `ModelGenes`.
    """

    def __init__(self, model: Fitted, cells: Cells, layer: str | None = None) -> None:
        self._source = source_of(cells, layer, min_cells=1)
        self._genes = ModelGenes(model, match_genes(cells.var_names, model.genes))
        self.names, self.keep = cells.obs_names, self._genes.keep

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.names)

    def blocks(self) -> Iterator[tuple[int, CountData]]:
        """Yield the number of the first cell of each block, and the block."""
        for start, counts in self._source.blocks():
            yield start, self._genes.of(counts)

    def some(self, rows: np.ndarray) -> CountData:
        """Return the cells with these numbers, ascending."""
        return self._genes.of(self._source.some(rows))


def outlier_scores(model: Fitted, new: NewCells, labels: np.ndarray) -> np.ndarray:
    """Return how unlike the cells of the fit new cells are, shape (n,) float32, 0 to 1.

    Parameters
    ----------
    model
        The model.
    new
        The new cells.
    labels
        Their clusters, shape (n,).

    Returns
    -------
    The share of the fit's own cells that are less unlike the others; see `graph.outliers.scores`.
    """
    rng = np.random.default_rng(model.settings.seed)
    held_out, n = model.profiles, new.n_cells
    reference, clusters = held_out.total, model.partition.anchor_clusters[: len(held_out.total)]
    chosen = np.sort(rng.permutation(n)[:_POOLED])
    found = np.zeros((2, n))

    def split(data: CountData) -> tuple[Half, Half]:
        return halves(model.network, data, model.anchors, model.settings.seed, new.keep)

    with one_thread():
        pair = split(new.some(chosen))
        pools = outliers.pooled(pair, len(reference))
        typical = float(np.median(held_out.scored_counts)) / 2
        batch = outliers.batch_ratio(reference, pools[0] + pools[1], clusters, typical)
        if new.keep is not None:
            batch = new.keep * (1.0 if batch is None else batch)
        smooth = outliers.smoothing(model.anchors)
        profiles = [outliers.compared(reference, pool, smooth, batch) for pool in pools]
        found[:, chosen] = outliers.log_ratios(pair, profiles, own=True)
        for start, data in new.blocks() if n > len(chosen) else ():
            others = np.setdiff1d(np.arange(start, start + data.n_cells), chosen)
            pair = split(data.rows(others - start))
            found[:, others] = outliers.log_ratios(pair, profiles, own=False)
    own = Scored(held_out.scored_ratio, held_out.scored_counts, held_out.scored_share)
    share = np.full(n, len(chosen) / held_out.cells.sum())
    scored = Scored(found[0], found[1], share)
    return outliers.scores(scored, labels, own, clusters[held_out.scored_nearest])


def warn_of_unassigned(unassigned: np.ndarray) -> None:
    """Warn if many cells, True in `unassigned`, are unlike the reference."""
    n, n_cells = int(unassigned.sum()), len(unassigned)
    if n > _MANY * n_cells:
        warnings.warn(
            f"{n} of {n_cells} cells ({n / n_cells:.0%}) are unlike those of the reference and "
            "therefore unassigned: it lacks their types, or was measured differently. Look at "
            "their marker genes.",
            stacklevel=5,
        )
