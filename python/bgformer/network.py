"""The torch module: encoder -> bipartite attention over anchors -> ZINB decoder."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

from bgformer.devices import Portions
from bgformer.genes import THETA


class ZINBParameters(NamedTuple):
    """Parameters of the zero-inflated negative binomial, before any size factor.

    `log_mean` and `dropout_logit` are cells x genes, `log_dispersion` is genes; the dispersion is
    the negative binomial's "size" (variance = mean + mean**2 / dispersion).
    """

    log_mean: torch.Tensor
    dropout_logit: torch.Tensor
    log_dispersion: torch.Tensor


class Encoded(NamedTuple):
    """What the network says of a batch of b cells.

    `query` (b x d) is the cell before it has seen the anchors, `latent` (b x d) after, and
    `attention` (b x m, rows sum to 1) how it spread over the m anchors, averaged over heads;
    None while the anchors are not in use yet.
    """

    query: torch.Tensor
    latent: torch.Tensor
    attention: torch.Tensor | None


class GeneParameters(NamedTuple):
    """The decoder's parameters that belong to single genes, a row for each."""

    mean_weight: torch.Tensor
    mean_bias: torch.Tensor
    dropout_weight: torch.Tensor
    dropout_bias: torch.Tensor
    log_dispersion: torch.Tensor


def residuals(counts: torch.Tensor, expected: torch.Tensor, most: float) -> torch.Tensor:
    """Return Pearson residuals of counts, b x g, no further from 0 than `most`.

    The same as in the choice of genes: see `genes.residual_variance` for formula and source.
    """
    precision = torch.addcmul(expected, expected, expected, value=1 / THETA).add_(1e-12).rsqrt_()
    return (counts - expected).mul_(precision).clamp_(-most, most)


class BipartiteAttention(nn.Module):
    r"""Multi-head attention from n cells to m anchors (arXiv:2602.07475).

    ``softmax(Q K^T / sqrt(d_h)) V`` per head, where queries come from the cells, keys and values
    from the anchors. No cell attends to another, so time is O(n m d) and memory O(n m).
    """

    def __init__(self, n_latent: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.cell_norm = nn.LayerNorm(n_latent)
        self.anchor_norm = nn.LayerNorm(n_latent)
        self.query = nn.Linear(n_latent, n_latent, bias=False)
        self.key = nn.Linear(n_latent, n_latent, bias=False)
        self.value = nn.Linear(n_latent, n_latent, bias=False)
        self.out = nn.Linear(n_latent, n_latent)

    def forward(
        self, cells: torch.Tensor, anchors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the cells read from the anchors (b x d) and their mean weights (b x m)."""
        anchors = self.anchor_norm(anchors)
        query = self._heads(self.query(self.cell_norm(cells)))
        key, value = self._heads(self.key(anchors)), self._heads(self.value(anchors))
        weights = torch.softmax(self.logits(query, key) / math.sqrt(query.shape[-1]), dim=-1)
        read = (weights @ value).transpose(0, 1).reshape(cells.shape)
        return self.out(read), weights.mean(0)

    def logits(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return how well queries (heads x b x d_h) fit keys (heads x m x d_h), heads x b x m."""
        return query @ key.transpose(1, 2)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Cut rows x d into heads x rows x d/heads."""
        return x.view(x.shape[0], self.n_heads, -1).transpose(0, 1)


class Network(nn.Module):
    """Encoder, anchors with attention, decoder.

    Parameters
    ----------
    gene_mean
        Mean count of each gene in a cell of size factor 1, shape (g,): what the encoder compares
        counts with, and where the decoder starts.
    max_residual
        Bound on the Pearson residuals that the encoder sees.
    n_batches
        Batches the decoder knows.
    n_anchors, n_latent, n_hidden, n_heads
        Sizes of the network.
    """

    def __init__(
        self,
        gene_mean: np.ndarray,
        max_residual: float,
        *,
        n_batches: int,
        n_anchors: int,
        n_latent: int,
        n_hidden: int = 128,
        n_heads: int = 4,
    ) -> None:
        super().__init__()
        n_genes = len(gene_mean)
        self.register_buffer("gene_mean", torch.tensor(gene_mean, dtype=torch.float32))
        self.register_buffer("max_residual", torch.tensor(float(max_residual)))
        self.register_buffer("anchors_ready", torch.tensor(False))
        # Set after training by metric.calibrate; until then the latent is as the encoder gives it.
        self.register_buffer("latent_centre", torch.zeros(n_latent))
        self.register_buffer("latent_map", torch.eye(n_latent))
        self.linear = nn.Linear(n_genes, n_latent)
        self.encoder_in = nn.Linear(n_genes, n_hidden)
        self.encoder_norm = nn.LayerNorm(n_hidden)
        self.encoder_out = nn.Linear(n_hidden, n_latent)
        self.anchors = nn.Parameter(torch.randn(n_anchors, n_latent))
        self.attention = BipartiteAttention(n_latent, n_heads)
        self.decoder_in = nn.Linear(n_latent, n_hidden)
        self.decoder_batch = nn.Embedding(n_batches, n_hidden)
        self.decoder_norm = nn.LayerNorm(n_hidden)
        self.mean_out = nn.Linear(n_hidden, n_genes)
        self.dropout_out = nn.Linear(n_hidden, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.portions = Portions()  # what its device has room for in a pass is found out once
        with torch.no_grad():
            # Start from "every cell is the average cell, hardly any dropout": the first steps then
            # learn differences between cells instead of the scale of each gene.
            self.mean_out.bias.copy_(torch.log(self.gene_mean + 1e-4))
            self.mean_out.weight.mul_(0.3)
            self.dropout_out.bias.fill_(-3.0)
            self.dropout_out.weight.mul_(0.3)
            self.decoder_batch.weight.zero_()

    @classmethod
    def from_state(cls, state: dict[str, torch.Tensor]) -> Network:
        """Return a network of the sizes of a saved state, holding it, in evaluation mode."""
        n_batches, n_hidden = state["decoder_batch.weight"].shape
        n_anchors, n_latent = state["anchors"].shape
        network = cls(
            np.zeros(len(state["gene_mean"])),
            0,
            n_batches=n_batches,
            n_anchors=n_anchors,
            n_latent=n_latent,
            n_hidden=n_hidden,
        )
        network.load_state_dict(state)
        return network.eval()

    @torch.no_grad()
    def start_from(self, axes: np.ndarray) -> None:
        """Let the latent start as projections on `axes` (k x g, k <= d), the rest of it near 0.

        What tells types apart is there from the first step, and training bends it; from a random
        start the encoder keeps the few widest directions and loses small types.
        """
        self.linear.weight.zero_()
        self.linear.weight[: len(axes)] = torch.as_tensor(axes, dtype=torch.float32)
        self.linear.bias.zero_()
        self.encoder_out.weight.mul_(0.1)

    def encode(
        self, counts: torch.Tensor, size_factors: torch.Tensor, keep: torch.Tensor | None = None
    ) -> Encoded:
        """Encode a batch.

        Parameters
        ----------
        counts
            Counts, b x g.
        size_factors
            Size factors, b x 1.
        keep
            1 where a value may be seen and 0 where it is masked; a masked gene looks like one
            with the count that was to be expected. Of shape b x g or 1 x g, or v x b x g to
            encode the cells in v views, which come one view after the other.
        """
        x = residuals(counts, size_factors * self.gene_mean, float(self.max_residual))
        if keep is not None:
            x = (x * keep).view(-1, x.shape[1])
        hidden = F.gelu(self.encoder_norm(self.encoder_in(x)))
        query = self.linear(x) + self.encoder_out(hidden)
        if not self.anchors_ready:
            return Encoded(query, query, None)
        read, weights = self.attention(query, self.anchors)
        return Encoded(query, query + read, weights)

    def in_units(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the latent (b x d) in units of the spread of like cells; see `metric`."""
        return (latent - self.latent_centre) @ self.latent_map

    def of_genes(self) -> GeneParameters:
        """Return the decoder's parameters that belong to single genes, of all genes."""
        return GeneParameters(
            self.mean_out.weight,
            self.mean_out.bias,
            self.dropout_out.weight,
            self.dropout_out.bias,
            self.log_dispersion,
        )

    def decode(
        self, latent: torch.Tensor, batch: torch.Tensor, of_genes: GeneParameters
    ) -> ZINBParameters:
        """Return the ZINB parameters of the cells for the genes that are given, see `of_genes`."""
        hidden = self.decoder_in(latent) + self.decoder_batch(batch)
        hidden = F.gelu(self.decoder_norm(hidden))
        return ZINBParameters(
            F.linear(hidden, of_genes.mean_weight, of_genes.mean_bias),
            F.linear(hidden, of_genes.dropout_weight, of_genes.dropout_bias),
            of_genes.log_dispersion,
        )
