"""The published procedure (arXiv:2602.07475), in our own implementation of its description.

One layer of bipartite attention (width 512, four heads) leads from cells to anchor tokens. The
input is 1500 genes, scaled and dense. The loss is the ZINB reconstruction of the attended cell,
plus beta times the sum of the reconstruction of its nearest codebook entry and the commitment,
plus alpha = 1e-4 times DEC. The anchors are the codebook. They are detached in the attention and
start at spherical k-means centres. Anchors with no cells, or with too many, are reset to cells.
Attention logits are not scaled, queries are layer-normalised, and the latent has unit length. The
true number of clusters is given.

The description leaves some choices open. We use 256 anchors and beta = 0.25 for every set (the
authors set the number of anchors for each), a residual connection around the attention, and a
decoder with one hidden layer. The first fifth of the epochs has no anchors, so that k-means finds
a structured latent. Clusters come from k-means on the latent, which works at any epoch. Heads are
kept separate; the authors' reshape seems to mix cells.

Training takes about 600 minibatches and at least eight epochs: 50 to 100 seconds per set on one
CPU thread. With more epochs the scores may differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anndata

N_GENES, WIDTH, N_HEADS, N_ANCHORS = 1500, 512, 4, 256
ALPHA, BETA = 1e-4, 0.25
BATCH, MINIBATCHES, MIN_EPOCHS = 256, 600, 8
WITHOUT_ANCHORS = 0.2
"""Share of the epochs before the anchors are set."""
OVERFULL = 10.0
"""Anchors with more than this many times the mean number of cells are reset to a cell."""
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Epoch:
    """The state after an epoch: cells x 512 latent, and the cluster of each cell."""

    latent: np.ndarray
    labels: np.ndarray


class Network(nn.Module):
    """Encoder, bipartite attention over anchors, ZINB decoder."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(n_genes, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.log_mean = nn.Linear(WIDTH, n_genes)
        self.dropout = nn.Linear(WIDTH, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.anchors: nn.Parameter | None = None
        self.centroids: nn.Parameter | None = None

    def forward(self, scaled: torch.Tensor) -> torch.Tensor:
        """Return the latent of cells, of unit length."""
        cells = self.encoder(scaled)
        if self.anchors is not None:
            anchors = self.anchors.detach()
            query, key, value = (
                part.view(len(part), N_HEADS, -1).transpose(0, 1)
                for part in (self.query(self.norm(cells)), self.key(anchors), self.value(anchors))
            )
            read = torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value
            cells = cells + self.out(read.transpose(0, 1).reshape(len(cells), WIDTH))
        return F.normalize(cells, dim=1)

    def nearest(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the anchor nearest to each cell."""
        return torch.cdist(latent, self.anchors).argmin(dim=1)

    def reconstruction(
        self, latent: torch.Tensor, counts: torch.Tensor, log_size: torch.Tensor
    ) -> torch.Tensor:
        """Return the negative log likelihood of counts, averaged over cells and genes."""
        hidden = F.relu(self.hidden(latent))
        return zinb(
            counts,
            self.log_mean(hidden) + log_size[:, None],
            self.log_dispersion,
            self.dropout(hidden),
        )

    def similarity(self, latent: torch.Tensor) -> torch.Tensor:
        """Return DEC's soft assignment, Student's t with one degree of freedom."""
        q = 1 / (1 + torch.cdist(latent, self.centroids) ** 2)
        return q / q.sum(dim=1, keepdim=True)


def zinb(
    counts: torch.Tensor,
    log_mean: torch.Tensor,
    log_dispersion: torch.Tensor,
    dropout_logit: torch.Tensor,
) -> torch.Tensor:
    """Return the mean negative log likelihood under a zero-inflated negative binomial."""
    odds = (log_mean - log_dispersion).clamp(-15, 15)  # log of mean / dispersion
    theta = log_dispersion.clamp(-10, 10).exp()
    zero_by_nb = -theta * F.softplus(odds)
    likelihood = F.softplus(zero_by_nb - dropout_logit) - F.softplus(-dropout_logit)
    cell, gene = torch.nonzero(counts, as_tuple=True)
    x, theta, odds = counts[cell, gene], theta[gene], odds[cell, gene]
    seen = (
        torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
        - theta * F.softplus(odds)
        - x * F.softplus(-odds)
        - F.softplus(dropout_logit[cell, gene])
    )
    return -(likelihood.index_put((cell, gene), seen)).mean()


def loss(
    network: Network,
    scaled: torch.Tensor,
    counts: torch.Tensor,
    log_size: torch.Tensor,
    target: torch.Tensor | None,
) -> torch.Tensor:
    """Return the objective on a minibatch; `target` is that of DEC, None before anchors exist."""
    latent = network(scaled)
    total = network.reconstruction(latent, counts, log_size)
    if target is None:
        return total
    quantised = network.anchors[network.nearest(latent.detach())]
    commitment = F.mse_loss(latent, quantised.detach()) + F.mse_loss(quantised, latent.detach())
    total = total + BETA * (network.reconstruction(quantised, counts, log_size) + commitment)
    divergence = F.kl_div(network.similarity(latent).log(), target, reduction="batchmean")
    return total + ALPHA * divergence


def epochs(adata: anndata.AnnData, n_clusters: int, seed: int) -> Iterator[Epoch]:
    """Train on counts, and yield the state after each epoch once the anchors are set.

    Parameters
    ----------
    adata
        Counts in ``X``; not changed.
    n_clusters
        True number of clusters.
    seed
        Seed for weights, minibatches and k-means.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    counts, scaled, log_size = inputs(adata)
    network = Network(counts.shape[1])
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    n_epochs = max(MIN_EPOCHS, round(MINIBATCHES / math.ceil(len(counts) / BATCH)))
    first = max(1, round(WITHOUT_ANCHORS * n_epochs))
    for epoch in range(n_epochs):
        if epoch == first:
            latent = embed(network, scaled)
            network.anchors = nn.Parameter(spherical_kmeans(latent, seed))
            network.centroids = nn.Parameter(
                torch.tensor(kmeans(latent, n_clusters, seed).cluster_centers_)
            )
            optimiser.add_param_group({"params": [network.anchors, network.centroids]})
        target = None if epoch < first else dec_target(network, scaled)
        for batch in torch.tensor(rng.permutation(len(counts))).split(BATCH):
            value = loss(
                network,
                scaled[batch],
                counts[batch],
                log_size[batch],
                None if target is None else target[batch],
            )
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        if epoch >= first:
            latent = embed(network, scaled)
            resample(network, latent, rng)
            yield Epoch(latent.numpy(), kmeans(latent, n_clusters, seed).labels_)


def inputs(adata: anndata.AnnData) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return counts and scaled log counts of the selected genes, and log size factors."""
    data = adata.copy()
    totals = np.asarray(data.X.sum(axis=1)).ravel()
    data.layers["counts"] = data.X.copy()
    sc.pp.normalize_total(data)
    sc.pp.log1p(data)
    if data.n_vars > N_GENES:
        sc.pp.highly_variable_genes(data, n_top_genes=N_GENES)
        data = data[:, data.var["highly_variable"]].copy()
    sc.pp.scale(data, max_value=10)
    size = np.maximum(totals, 1) / np.median(totals)
    return tuple(
        torch.tensor(np.asarray(values), dtype=torch.float32)
        for values in (data.layers["counts"].toarray(), data.X, np.log(size))
    )


@torch.no_grad()
def embed(network: Network, scaled: torch.Tensor) -> torch.Tensor:
    """Return the latent of all cells."""
    return torch.cat([network(part) for part in scaled.split(2048)])


@torch.no_grad()
def dec_target(network: Network, scaled: torch.Tensor) -> torch.Tensor:
    """Return DEC's target distribution over all cells."""
    q = network.similarity(embed(network, scaled))
    weight = q**2 / q.sum(dim=0)
    return weight / weight.sum(dim=1, keepdim=True)


def kmeans(latent: torch.Tensor, n_clusters: int, seed: int) -> KMeans:
    """Run k-means with three starts."""
    return KMeans(n_clusters, n_init=3, random_state=seed).fit(latent.numpy())


def spherical_kmeans(latent: torch.Tensor, seed: int) -> torch.Tensor:
    """Return k-means centres of unit vectors, normalised to unit length."""
    n_anchors = min(N_ANCHORS, len(latent) // 2)
    found = KMeans(n_anchors, n_init=1, max_iter=50, random_state=seed).fit(latent.numpy())
    return F.normalize(torch.tensor(found.cluster_centers_), dim=1)


@torch.no_grad()
def resample(network: Network, latent: torch.Tensor, rng: np.random.Generator) -> None:
    """Reset anchors with no cells, or with too many, to cells drawn at random."""
    load = torch.bincount(network.nearest(latent), minlength=len(network.anchors))
    lost = (load == 0) | (load > OVERFULL * len(latent) / len(network.anchors))
    drawn = rng.choice(len(latent), int(lost.sum()), replace=False)
    network.anchors[lost] = latent[drawn]


def accuracy(truth: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of correct cells under the best one-to-one match of clusters and types."""
    together = pd.crosstab(truth, labels).to_numpy()
    return together[linear_sum_assignment(together, maximize=True)].sum() / len(truth)


def last_and_best_epoch(
    adata: anndata.AnnData, seed: int, n_clusters: int, labels: np.ndarray
) -> None:
    """Train, and store the last epoch and the one with the highest accuracy against the labels.

    Labels are used only to choose the epoch of "published_best". Clusters go to
    ``obs["published_last"]`` and ``obs["published_best"]``, latents to ``obsm``.
    """
    threads, best = torch.get_num_threads(), -1.0
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for found in epochs(adata, n_clusters, seed):
                names = ["last"]
                if (score := accuracy(labels, found.labels)) > best:
                    best = score
                    names.append("best")
                for name in names:
                    adata.obs[f"published_{name}"] = found.labels
                    adata.obsm[f"X_published_{name}"] = found.latent
    finally:
        torch.set_num_threads(threads)
