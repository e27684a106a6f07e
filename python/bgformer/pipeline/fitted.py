"""A fitted model: the results of a fit, and what can be done with them without retraining."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.arguments import positive, whole
from bgformer.data.checks import warn_blank
from bgformer.data.counts import with_size_factors
from bgformer.data.genes import cut_genes, match_genes
from bgformer.data.source import source_of
from bgformer.fit.embedding import embed
from bgformer.graph.anchor_graph import anchor_links
from bgformer.graph.communities import partition, warn_of_one
from bgformer.graph.evidence import evidence
from bgformer.graph.placement import gathered
from bgformer.graph.votes import vote, vote_in_blocks
from bgformer.messages import InputError
from bgformer.network.anchor_weights import anchor_weights
from bgformer.runtime.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from scipy import sparse

    from bgformer.data.cells import Cells
    from bgformer.graph.communities import Partition
    from bgformer.graph.evidence import Profiles
    from bgformer.network.network import Network
    from bgformer.pipeline.settings import Settings


@dataclass(frozen=True)
class Fitted:
    """The results of a fit.

    Attributes
    ----------
    settings
        Settings of the fit.
    genes
        Names of the genes used, shape (g,).
    batches
        Names of the batches; a single one if no batches were given.
    median_counts
        Median total counts of a cell; size factors are relative to it.
    network
        The trained network.
    history
        "step", "loss" and each unweighted loss term, one value per training step.
    anchors
        Anchors of the graph, m x n_latent float32.
    profiles
        Held-out counts of each anchor of the linear head; see `graph.evidence.Profiles`.
    latent, weights
        Latent (n x n_latent float32) and weights (CSR n x m) of the cells, as arrays or as objects
        that are sliced like arrays.
    partition
        Clusters of the cells and of the anchors.
    links
        Links between the anchors, CSR m x m.
    evidence
        Table of what separates each cluster from its nearest one; see `graph.evidence.evidence`.
    """

    settings: Settings
    genes: np.ndarray
    batches: list[str]
    median_counts: float
    network: Network
    history: dict[str, np.ndarray]
    anchors: np.ndarray
    profiles: Profiles
    latent: Any
    weights: Any
    partition: Partition
    links: sparse.csr_matrix = field(default=None)
    evidence: pd.DataFrame = field(default=None)

    def __post_init__(self) -> None:
        """Compute links and evidence unless they were given."""
        if self.links is None:
            object.__setattr__(self, "links", anchor_links(self.weights))
        if self.evidence is None:
            table = evidence(self.partition, self.profiles, self.genes)
            object.__setattr__(self, "evidence", table)

    def reclustered(self, resolution: float | None, n_clusters: int | None) -> Fitted:
        """Return the model with other clusters: at a resolution, of a given number, or default."""
        found = partition(
            self.weights,
            None if resolution is None else positive("resolution", resolution),
            None if n_clusters is None else whole("n_clusters", n_clusters),
            seed=self.settings.seed,
            min_cells=self.settings.min_cells,
            links=self.links,
        )
        warn_of_one(found, stacklevel=4)
        return replace(self, partition=found, evidence=None)

    def with_cells(self, latent: np.ndarray, weights: sparse.csr_matrix) -> Fitted:
        """Return the model with its cells replaced by others; the clusters of anchors stay.

        Parameters
        ----------
        latent
            Latent of the cells, n x n_latent.
        weights
            Weights of the cells on the anchors, CSR n x m.

        Raises
        ------
        ValueError
            If the numbers of cells differ.
        """
        if latent.shape[0] != weights.shape[0]:
            raise InputError(
                "numbers-differ", "latent and weights have different numbers of cells"
            )
        found = self.partition
        labels, confidence = vote_in_blocks(weights, found.anchor_clusters, found.anchor_support)
        found = found._replace(labels=labels, confidence=confidence)
        return replace(
            self, latent=latent, weights=weights, partition=found, links=None, evidence=None
        )

    def embed(self, cells: Cells, *, layer: str | None = None) -> Iterator[np.ndarray]:
        """Yield the latent of cells in blocks; see :meth:`bgformer.BGFormer.embed`."""
        source = source_of(cells, layer, min_cells=1)
        at = match_genes(cells.var_names, self.genes)
        measured = at >= 0
        # If genes are missing, size factors refer to the median counts in the remaining genes.
        expected = self.network.gene_mean.cpu().numpy()
        share = 1.0 if measured.all() else expected[measured].sum() / expected.sum()
        blank = np.zeros(cells.n_obs, dtype=bool)

        def blocks() -> Iterator[np.ndarray]:
            for start, counts in source.blocks():
                cut = cut_genes(counts, at)
                blank[start : start + cut.shape[0]] = np.diff(cut.indptr) == 0
                batch = np.zeros(cut.shape[0], dtype=np.int64)  # only the decoder needs it
                data = with_size_factors(cut, batch, self.median_counts * share)
                with one_thread():
                    latent = embed(self.network, data, None if measured.all() else measured)
                yield latent

        yield from gathered(blocks())
        warn_blank(np.flatnonzero(blank), len(at), cells.obs_names)

    def placed(self, cells: Cells, *, layer: str | None = None) -> Fitted:
        """Return the model with other cells, placed among its anchors; see `embed`."""
        latent = np.concatenate(list(self.embed(cells, layer=layer)))
        return self.with_cells(latent, anchor_weights(latent, self.anchors))

    def assign(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cluster and confidence, both (n,), of cells with this latent (from `embed`)."""
        weights = anchor_weights(latent, self.anchors)
        return vote(weights, self.partition.anchor_clusters, self.partition.anchor_support)
