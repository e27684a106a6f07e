"""The torch module: two heads, attention from cells to anchors, and the ZINB decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

from bgformer.data.scaling import LOG_TOTAL
from bgformer.network import seen
from bgformer.network.heads import head_anchors, head_columns
from bgformer.runtime.devices import Portions

if TYPE_CHECKING:
    from bgformer.network.seen import Seen
    from bgformer.runtime.sparse_rows import SparseRows

NEIGHBOURS = 5
"""Number of anchors in each head that a cell attends to."""
LEARNED_SCALE = 0.5
"""Factor on the learned head's part of the latent. It does not change attention, whose bandwidth
is relative to each cell; it weights the two heads in latent distances so that neighbours agree
best with types."""


class ZINBParameters(NamedTuple):
    """Parameters of the zero-inflated negative binomial for v views of b cells, and some genes.

    `log_mean` (v x b x g) includes the size factor; `dropout_logit` and `log_dispersion` are
    v x 1 x g. The dispersion is the "size" of the negative binomial (variance = mean
    + mean**2 / dispersion).
    """

    log_mean: torch.Tensor
    dropout_logit: torch.Tensor
    log_dispersion: torch.Tensor


def attention(
    query: torch.Tensor, anchors: torch.Tensor, n_neighbours: int = NEIGHBOURS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the anchors that each cell attends to and its weights on them, both b x k.

    The weights are ``softmax(-||q - a||^2 / (2 h^2))`` over the k nearest anchors. The bandwidth h
    is the cell's mean distance to them, so that dense and sparse regions are treated alike.
    `network.anchor_weights.anchor_weights` computes the same for all cells.

    Parameters
    ----------
    query
        Cells, b x d.
    anchors
        Anchors, m x d.
    n_neighbours
        Number k of nearest anchors; all anchors if there are fewer.
    """
    with torch.no_grad():
        distance = torch.cdist(query, anchors)
        nearest = distance.topk(min(n_neighbours, len(anchors)), largest=False).indices
    nearest_square = (query[:, None] - anchors[nearest]).square().sum(2)
    bandwidth = nearest_square.detach().sqrt().mean(1, keepdim=True) + 1e-12
    return nearest, torch.softmax(-nearest_square / (2 * bandwidth.square()), dim=1)


class Network(nn.Module):
    """Both heads, and the anchors of the learned head.

    Parameters
    ----------
    gene_mean
        Mean count of each gene in a cell with size factor 1, shape (g,).
    max_residual
        Bound on the Pearson residuals that the learned head sees.
    median_counts
        Total counts of a cell with size factor 1.
    n_batches
        Number of batches.
    n_anchors, n_latent, n_hidden
        Sizes of the network; anchors and latent dimensions are totals over both heads.

    Notes
    -----
    `axes` (g x d), `log_profile` (g x m) and `encoder_in`, the weights from the residuals to the
    learned head's output (the first columns) and to its hidden layer, have one row per gene.

    Buffers are part of the saved state. `fit.initialise` sets the standardisation and axes of the
    linear head. `fit.trainer.set_tokens` sets `log_profile`, the log mean counts of the cells of
    each anchor of the learned head. `fit.metric.calibrate` sets the centres and maps of both
    heads.
    """

    # torch does not declare buffers as tensors
    gene_mean: torch.Tensor
    max_residual: torch.Tensor
    log_scale_of_counts: torch.Tensor
    log_mean: torch.Tensor
    log_deviation: torch.Tensor
    axes: torch.Tensor
    batch_offset: torch.Tensor
    log_profile: torch.Tensor
    linear_centre: torch.Tensor
    linear_map: torch.Tensor
    learned_centre: torch.Tensor
    learned_map: torch.Tensor

    def __init__(
        self,
        gene_mean: np.ndarray,
        max_residual: float,
        median_counts: float,
        *,
        n_batches: int,
        n_anchors: int,
        n_latent: int,
        n_hidden: int = 128,
    ) -> None:
        super().__init__()
        n_genes = len(gene_mean)
        widths = [columns.stop - columns.start for columns in head_columns(n_latent)]
        learned = head_anchors(n_anchors)[1]
        self.n_anchors = n_anchors
        self.register_buffer("gene_mean", torch.tensor(gene_mean, dtype=torch.float32))
        self.register_buffer("max_residual", torch.tensor(float(max_residual)))
        self.register_buffer("log_scale_of_counts", torch.tensor(LOG_TOTAL / median_counts))
        self.register_buffer("log_mean", torch.zeros(n_genes))
        self.register_buffer("log_deviation", torch.ones(n_genes))
        self.register_buffer("axes", torch.zeros(n_genes, widths[0]))
        self.register_buffer("batch_offset", torch.zeros(n_batches, n_genes))
        self.register_buffer("log_profile", torch.zeros(n_genes, learned.stop - learned.start))
        for name, width in zip(("linear", "learned"), widths, strict=True):
            self.register_buffer(f"{name}_centre", torch.zeros(width))
            self.register_buffer(f"{name}_map", torch.eye(width))
        layers = nn.Linear(n_genes, widths[1]), nn.Linear(n_genes, n_hidden)
        into = torch.cat([layer.weight.detach() for layer in layers]).T
        self.encoder_in = nn.Parameter(into.contiguous())
        self.encoder_bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))
        self.encoder_norm = nn.LayerNorm(n_hidden)
        self.encoder_out = nn.Linear(n_hidden, widths[1])
        self.anchors = nn.Parameter(torch.zeros(learned.stop - learned.start, widths[1]))
        self.dropout_logit = nn.Parameter(torch.full((n_genes,), -3.0))  # hardly any dropout
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.portions = Portions()  # remembers how many cells fit into the device's memory

    @classmethod
    def from_state(cls, state: dict[str, torch.Tensor], n_anchors: int) -> Network:
        """Return a network with a saved state, in evaluation mode."""
        network = cls(
            np.zeros(len(state["gene_mean"])),
            0,
            1,
            n_batches=len(state["batch_offset"]),
            n_anchors=n_anchors,
            n_latent=len(state["linear_centre"]) + len(state["learned_centre"]),
            n_hidden=len(state["encoder_norm.bias"]),
        )
        network.load_state_dict(state)
        return network.eval()

    @torch.no_grad()
    def start_from(self, linear_axes: np.ndarray, learned_axes: np.ndarray) -> None:
        """Set the linear head to a projection, and start the learned head from one.

        Parameters
        ----------
        linear_axes, learned_axes
            k x g each, where k is at most the width of the head. The other dimensions stay 0.
        """
        width = len(self.learned_centre)
        self.axes.zero_()
        self.axes[:, : len(linear_axes)] = torch.as_tensor(linear_axes.T, dtype=torch.float32)
        self.encoder_in[:, :width].zero_()
        self.encoder_in[:, : len(learned_axes)] = torch.as_tensor(
            learned_axes.T, dtype=torch.float32
        )
        self.encoder_bias[:width].zero_()
        self.encoder_out.weight.mul_(0.1)
        self.encoder_out.bias.zero_()

    def standardised(self, counts: SparseRows, size_factors: torch.Tensor) -> Seen:
        """Return the scaled log counts that the linear head sees, b x g."""
        return seen.scaled_logs(
            counts, size_factors, self.log_scale_of_counts, self.log_mean, self.log_deviation
        )

    def residuals(self, counts: SparseRows, size_factors: torch.Tensor) -> Seen:
        """Return the Pearson residuals that the learned head sees, b x g."""
        return seen.residuals(counts, size_factors, self.gene_mean, float(self.max_residual))

    def encode(self, residuals: Seen) -> torch.Tensor:
        """Encode residuals (b x g): return the learned head's output before the metric, b x d."""
        width = len(self.learned_centre)
        first = residuals.times(self.encoder_in) + self.encoder_bias
        hidden = F.gelu(self.encoder_norm(first[:, width:]))
        return first[:, :width] + self.encoder_out(hidden)

    def heads(
        self, counts: SparseRows, size_factors: torch.Tensor, keep: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output of both heads before the metric, b x d each.

        Parameters
        ----------
        counts
            Counts, b x g.
        size_factors
            Size factors, b x 1.
        keep
            False for genes that were not measured, shape (g,). They are treated as if they had
            their expected value.
        """
        residuals = self.residuals(counts, size_factors)
        if keep is not None:
            residuals = residuals.of_genes(keep)
        return self.linear(counts, size_factors, keep), self.encode(residuals)

    def linear(
        self, counts: SparseRows, size_factors: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the output of the linear head before the metric, b x d; see `heads`."""
        scaled = self.standardised(counts, size_factors)
        return (scaled if keep is None else scaled.of_genes(keep)).times(self.axes)

    def linear_in_units(self, linear: torch.Tensor) -> torch.Tensor:
        """Return the linear head's output (b x d) in units of the spread of similar cells."""
        return (linear - self.linear_centre) @ self.linear_map

    def in_units(self, learned: torch.Tensor) -> torch.Tensor:
        """Return the learned head's output (b x d) in units of the spread of similar cells."""
        return (learned - self.learned_centre) @ self.learned_map

    def latent(self, linear: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
        """Return the latent, b x n_latent: both heads side by side, in the units of `fit.metric`.

        The learned head is multiplied by `LEARNED_SCALE`.
        """
        learned = LEARNED_SCALE * self.in_units(learned)
        return torch.cat([self.linear_in_units(linear), learned], dim=1)

    def reconstruct(
        self,
        nearest: torch.Tensor,
        weights: torch.Tensor,
        size_factors: torch.Tensor,
        batch: torch.Tensor,
        genes: torch.Tensor,
    ) -> ZINBParameters:
        """Return the ZINB that the anchors predict for v views of the cells that attend to them.

        The mean is the attention-weighted mean of the anchors' profiles, multiplied by the size
        factor and the batch's ratio. A cell is thus reconstructed from other cells.

        Parameters
        ----------
        nearest, weights
            Anchors that the cells attend to in each view, and their weights on these: what
            `attention` returns, v x b x k each.
        size_factors
            Size factors, b x 1.
        batch
            Batch codes, shape (b,).
        genes
            Indices of the genes to reconstruct in each view, v x g.
        """
        n_views, n_genes = genes.shape
        profiles = self.log_profile.index_select(0, genes.ravel()).view(n_views, n_genes, -1)
        profiles = profiles.exp().transpose(1, 2).reshape(-1, n_genes)
        view = torch.arange(n_views, device=genes.device)[:, None, None]
        own = profiles.index_select(0, (nearest + view * self.log_profile.shape[1]).ravel())
        mean = torch.einsum("vbk,vbkg->vbg", weights, own.view(*nearest.shape, n_genes))
        offset = self.batch_offset[:, genes.ravel()].view(-1, n_views, n_genes)[batch]
        return ZINBParameters(
            mean.log() + offset.transpose(0, 1) + size_factors.log(),
            self.dropout_logit[genes][:, None],
            self.log_dispersion[genes][:, None],
        )
