"""Evidence for each cluster: how far its nearest neighbour is, and which genes tell them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control, norm

from bgformer.anchors import anchor_weights
from bgformer.counts import rows_of_values, with_size_factors
from bgformer.embedding import embed
from bgformer.heads import head_anchors, head_columns
from bgformer.network import LOG_TOTAL

if TYPE_CHECKING:
    from bgformer.communities import Partition
    from bgformer.counts import CountData
    from bgformer.network import Network

_CELLS = 20_000
"""Cells that the profiles are taken from."""
_MOST_CELLS = 300
"""Cells of a side that count for a p-value at most, so that power does not grow with the data."""
_FOLD, _DETECTED, _DIFFERENCE, _FALSE = 1.0, 0.4, 0.7, 0.01
"""The rule of scrattch.hicat (Tasic et al. 2018, doi:10.1038/s41586-018-0654-5) for a gene that
tells two clusters apart: at least twice as high (log2), detected in this share of one's cells,
with this relative difference of the shares, at this false discovery rate."""
_NAMED = 5
"""Marker genes that are named."""


class Profiles(NamedTuple):
    """What counts that were held out from clustering say of each anchor of the linear head.

    Attributes
    ----------
    cells
        Cells nearest to the anchor, shape (m,).
    total
        Sum of each gene's counts per 10,000 over these cells, m x g float32.
    detected
        Cells of these in which the gene is seen, m x g float32.
    """

    cells: np.ndarray
    total: np.ndarray
    detected: np.ndarray


def profiles(network: Network, data: CountData, anchors: np.ndarray, seed: int) -> Profiles:
    """Deal each count to one of two halves, place cells by one, and sum up the other by anchor.

    If counts are Poisson about a cell's expression, the halves are independent given it (Neufeld
    et al. 2024, JMLR 25(57), "data thinning"), so a gene that differs between clusters in the
    second half does not owe that to the noise that the cells were placed by. The sums of anchors
    add up to those of any clusters made of them.

    Parameters
    ----------
    network, data
        The trained network and its training cells.
    anchors
        m x n_latent, those of both heads.
    seed
        Seeds the choice of cells, if they are many, and the halves.
    """
    rng = np.random.default_rng(seed)
    sample = data.rows(np.sort(rng.permutation(data.n_cells)[:_CELLS]))
    one, other = sample.counts.copy(), sample.counts.copy()
    one.data = rng.binomial(one.data.astype(np.int64), 0.5).astype(np.float32)
    other.data -= one.data
    other.eliminate_zeros()
    latent = embed(network, with_size_factors(one, sample.batch, sample.median_counts))
    columns, own = head_columns(latent.shape[1])[0], head_anchors(len(anchors))[0]
    weights = anchor_weights(latent[:, columns], anchors[own, columns], n_heads=1)
    width = np.diff(weights.indptr)[0]
    heaviest = weights.data.reshape(-1, width).argmax(axis=1)
    nearest = weights.indices.reshape(-1, width)[np.arange(len(heaviest)), heaviest]
    of_anchors = sparse.csr_matrix(
        (np.ones(len(nearest), dtype=np.float32), (nearest, np.arange(len(nearest)))),
        shape=(weights.shape[1], len(nearest)),
    )
    depth = np.maximum(np.asarray(other.sum(axis=1)).ravel(), 1)
    detected = (of_anchors @ (other > 0).astype(np.float32)).toarray()
    other.data *= (LOG_TOTAL / depth)[rows_of_values(other)].astype(np.float32)
    return Profiles(
        np.bincount(nearest, minlength=weights.shape[1]).astype(np.float32),
        (of_anchors @ other).toarray(),
        detected,
    )


def evidence(found: Partition, held_out: Profiles, genes: np.ndarray) -> pd.DataFrame:
    """Return what sets each cluster apart from the one nearest to it.

    Parameters
    ----------
    found
        Clusters.
    held_out
        From `profiles`, for the same anchors.
    genes
        Names of the genes.

    Returns
    -------
    A row for each cluster: "cluster", "n_cells", "nearest" (the cluster with most links to it),
    "links" (their share of links, see `communities.ISLAND`: near 0 across a gap, .15 and more
    between halves of a single type), "n_markers" (genes that tell the two apart in counts that
    were held out, see `_FOLD`) and "markers" (names of the first five of those that the cluster
    has more of).
    """
    n_clusters = found.n_clusters
    clusters = found.anchor_clusters[: len(held_out.cells)]
    member = np.zeros((n_clusters, len(clusters)), dtype=np.float32)
    member[clusters, np.arange(len(clusters))] = 1
    cells = np.maximum(member @ held_out.cells, 1)
    mean = member @ held_out.total / cells[:, None]
    share = member @ held_out.detected / cells[:, None]
    n_markers, names = [], []
    for one, other in enumerate(found.nearest):
        z = _different(share[one], share[other], cells[one], cells[other], mean[one], mean[other])
        n_markers.append(int(np.count_nonzero(z)))
        best = np.argsort(-z, kind="stable")[:_NAMED]
        names.append(", ".join(str(genes[gene]) for gene in best if z[gene] > 0))
    return pd.DataFrame(
        {
            "cluster": [str(cluster) for cluster in range(n_clusters)],
            "n_cells": np.bincount(found.labels, minlength=n_clusters),
            "nearest": [str(cluster) for cluster in found.nearest],
            "links": found.links,
            "n_markers": n_markers,
            "markers": names,
        }
    )


def _different(
    share: np.ndarray,
    other_share: np.ndarray,
    n_cells: float,
    n_other: float,
    mean: np.ndarray,
    other_mean: np.ndarray,
) -> np.ndarray:
    """Return the z of the difference in detection of the genes that differ, 0 for all others."""
    fold = np.log2((mean + 0.1) / (other_mean + 0.1))
    high, low = np.maximum(share, other_share), np.minimum(share, other_share)
    n, m = min(n_cells, _MOST_CELLS), min(n_other, _MOST_CELLS)
    pooled = (share * n + other_share * m) / (n + m)
    z = (share - other_share) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n + 1 / m))
    q = false_discovery_control(2 * norm.sf(np.abs(z)))
    differs = (
        (np.abs(fold) > _FOLD)
        & (high > _DETECTED)
        & (high - low > _DIFFERENCE * high)
        & (q < _FALSE)
    )
    return np.where(differs, z, 0)
