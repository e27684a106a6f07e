"""A fitted model: the results of a fit, and what can be done with them without retraining."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.arguments import positive, whole
from bgformer.data.checks import warn_blank
from bgformer.fit.embedding import embed
from bgformer.graph.anchor_graph import anchor_links
from bgformer.graph.communities import partition, warn_of_one
from bgformer.graph.evidence import evidence
from bgformer.graph.outliers import UNASSIGNED
from bgformer.graph.placement import gathered
from bgformer.graph.votes import vote, vote_in_blocks
from bgformer.messages import InputError
from bgformer.network.anchor_weights import anchor_weights
from bgformer.pipeline.prediction import NewCells, outlier_scores, warn_of_unassigned
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
        found = found._replace(labels=labels, confidence=confidence, outlier=None, unassigned=None)
        return replace(
            self, latent=latent, weights=weights, partition=found, links=None, evidence=None
        )

    def embed(self, new: NewCells) -> Iterator[np.ndarray]:
        """Yield the latent of new cells in blocks; see :meth:`bgformer.BGFormer.embed`."""
        blank = np.zeros(new.n_cells, dtype=bool)

        def blocks() -> Iterator[np.ndarray]:
            for start, data in new.blocks():
                blank[start : start + data.n_cells] = np.diff(data.counts.indptr) == 0
                with one_thread():
                    latent = embed(self.network, data, new.keep)
                yield latent

        yield from gathered(blocks())
        warn_blank(np.flatnonzero(blank), len(self.genes), new.names)

    def placed(self, cells: Cells, *, layer: str | None = None) -> Fitted:
        """Return the model with other cells, placed among its anchors and scored."""
        new = NewCells(self, cells, layer)
        latent = np.concatenate(list(self.embed(new)))
        return self.with_cells(latent, anchor_weights(latent, self.anchors)).scored(new)

    def scored(self, new: NewCells) -> Fitted:
        """Return a model whose cells are new ones, see `with_cells`, with their outlier scores."""
        score = outlier_scores(self, new, self.partition.labels)
        unassigned = score > UNASSIGNED
        warn_of_unassigned(unassigned)
        found = self.partition._replace(outlier=score, unassigned=unassigned)
        # all else in the evidence is of anchors, which have not changed
        return replace(self, partition=found, evidence=self.evidence.assign(n_cells=found.n_cells))

    def assign(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cluster and confidence, both (n,), of cells with this latent (from `embed`)."""
        weights = anchor_weights(latent, self.anchors)
        return vote(weights, self.partition.anchor_clusters, self.partition.anchor_support)
