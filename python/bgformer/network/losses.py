"""The terms of the objective: one function each, which takes tensors and returns a scalar."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

_MAX_LOG = 15.0
"""Bound on log mean and log dispersion; exp(15) is 3.3 million, more than any real count."""


def zinb(
    counts: torch.Tensor,
    log_mean: torch.Tensor,
    log_dispersion: torch.Tensor,
    dropout_logit: torch.Tensor,
) -> torch.Tensor:
    r"""Return the negative log likelihood of counts under a zero-inflated negative binomial.

    With mean mu, dispersion theta and dropout probability pi = sigmoid(logit),
    ``P(x) = pi [x = 0] + (1 - pi) NB(x; mu, theta)``,
    ``NB(x; mu, theta) = Gamma(x + theta) / (Gamma(theta) x!) (theta / (theta + mu))^theta
    (mu / (theta + mu))^x`` (Eraslan et al. 2019, doi:10.1038/s41467-018-07931-2, eq. 4).

    The log-gamma terms are zero for a count of 0, so they are computed only for non-zero counts.

    Parameters
    ----------
    counts
        Counts, b x g, or v x b x g for v views of the cells.
    log_mean
        Log of the mean, including the size factor, of the same shape.
    log_dispersion
        Log of the dispersion theta, shape (g,) or v x 1 x g.
    dropout_logit
        Logit of the dropout probability, of the shape of the counts, or as `log_dispersion`.

    Returns
    -------
    Mean over cells and views of the sum over genes.
    """
    log_mean = log_mean.clamp(-_MAX_LOG, _MAX_LOG)
    log_dispersion = log_dispersion.clamp(-_MAX_LOG, _MAX_LOG)
    loss: torch.Tensor = _ZINB.apply(  # type: ignore[no-untyped-call]
        counts, log_mean, log_dispersion, dropout_logit
    )
    return loss


class _ZINB(torch.autograd.Function):
    """`zinb` with explicit derivatives, because autograd takes three times as long."""

    @staticmethod
    def forward(
        ctx: Any,
        counts: torch.Tensor,
        log_mean: torch.Tensor,
        log_dispersion: torch.Tensor,
        dropout_logit: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the loss and, at the same time, its derivatives."""
        theta = log_dispersion.exp()
        odds = log_mean - log_dispersion  # log of mu / theta
        share = torch.sigmoid(odds)  # mu / (theta + mu)
        # theta log(theta / (theta + mu)), stable for small and large mu / theta
        log_nb_zero = -theta * F.softplus(odds)
        dropped = torch.sigmoid(dropout_logit)
        log_not_dropped = -F.softplus(dropout_logit)
        not_dropped_at_zero = torch.sigmoid(log_nb_zero - dropout_logit)
        # log(pi + (1 - pi) NB(0))
        log_likelihood = F.softplus(log_nb_zero - dropout_logit) - F.softplus(-dropout_logit)
        by_mean = -theta * share
        by_dispersion = log_nb_zero - by_mean

        at, gene = _places_of_seen(counts, log_dispersion)
        x, theta_seen, constant, constant_slope = _at_seen(counts, at, gene, log_dispersion)
        odds_seen = odds.view(-1)[at].to(constant.dtype)
        expected = x * torch.sigmoid(-odds_seen)
        at_seen = constant - theta_seen * F.softplus(odds_seen) - x * F.softplus(-odds_seen)
        of_dropout = at if dropout_logit.shape == counts.shape else gene
        log_likelihood.view(-1)[at] = (
            at_seen.to(odds.dtype) + log_not_dropped.reshape(-1)[of_dropout]
        )
        expected, constant_slope = expected.to(odds.dtype), constant_slope.to(odds.dtype)
        d_mean, d_dispersion = not_dropped_at_zero * by_mean, not_dropped_at_zero * by_dispersion
        d_dropout = 1 - not_dropped_at_zero - dropped
        d_mean.view(-1)[at] = by_mean.view(-1)[at] + expected
        d_dispersion.view(-1)[at] = by_dispersion.view(-1)[at] - expected + constant_slope
        d_dropout.view(-1)[at] = -dropped.reshape(-1)[of_dropout]
        d_dispersion = d_dispersion.sum_to_size(log_dispersion.shape)
        d_dropout = d_dropout.sum_to_size(dropout_logit.shape)
        ctx.save_for_backward(d_mean, d_dispersion, d_dropout)
        return -log_likelihood.sum(-1).mean()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the derivatives with respect to mean, dispersion and dropout (counts: none)."""
        d_mean, d_dispersion, d_dropout = ctx.saved_tensors
        scale = -gradient * d_mean.shape[-1] / d_mean.numel()
        return None, scale * d_mean, scale * d_dispersion, scale * d_dropout


def _places_of_seen(
    counts: torch.Tensor, of_genes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of non-zero counts, in the flattened counts and in values of the genes."""
    at = torch.nonzero(counts.reshape(-1)).ravel()
    n_cells, n_genes = counts.shape[-2:]
    gene = at % n_genes
    if of_genes.numel() > n_genes:  # each view has genes of its own
        gene += at // (n_cells * n_genes) * n_genes
    return at, gene


def _at_seen(
    counts: torch.Tensor, at: torch.Tensor, gene: torch.Tensor, log_dispersion: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return what the likelihood needs for the non-zero counts.

    These are the counts x, theta, ``lgamma(x + theta) - lgamma(theta) - lgamma(x + 1)``, and the
    derivative of the latter with respect to log theta.

    They are computed in float64, because for a large theta a float32 loses all digits of
    lgamma(x + theta) - lgamma(theta). Non-zero counts are few, so this costs little. MPS has no
    float64 and uses float32.
    """
    wide = torch.float32 if counts.device.type == "mps" else torch.float64
    x, theta = counts.reshape(-1)[at].to(wide), log_dispersion.reshape(-1).to(wide).exp()
    more = x + theta[gene]
    constant = torch.lgamma(more) - torch.lgamma(theta)[gene] - torch.lgamma(x + 1)
    slope = theta[gene] * (torch.digamma(more) - torch.digamma(theta)[gene])
    return x, theta[gene], constant, slope


def self_supervised(
    latent_a: torch.Tensor, latent_b: torch.Tensor, off_diagonal: float = 0.01
) -> torch.Tensor:
    """Return the Barlow Twins loss of two views of the same cells (b x d each), per dimension.

    ``(sum_i (1 - C_ii)^2 + w sum_(i != j) C_ij^2) / d``, where C is the cross-correlation of the
    dimensions of both views over the batch and w is `off_diagonal` (Zbontar et al. 2021,
    arXiv:2103.03230, eq. 1). The first term makes the views agree. The second decorrelates the
    dimensions, so that none is redundant.
    """
    a, b = (
        (view - view.mean(0)) / (view.std(0, unbiased=False) + 1e-4)
        for view in (latent_a, latent_b)
    )
    correlation = a.T @ b / len(a)
    agreement = correlation.diagonal()
    redundancy = correlation.square().sum() - agreement.square().sum()
    return ((1 - agreement).square().sum() + off_diagonal * redundancy) / len(agreement)


def commitment(query: torch.Tensor, nearest: torch.Tensor, beta: float = 0.25) -> torch.Tensor:
    r"""Return the commitment loss of cells to their nearest anchors (b x d each), per dimension.

    ``mean(||sg(q) - a||^2 + beta ||q - sg(a)||^2) / d``, where ``sg`` stops the gradient and ``a``
    is the anchor nearest to the cell (van den Oord et al. 2017, arXiv:1711.00937, eq. 3). The
    first term moves anchors towards cells, the second moves cells towards anchors.
    """
    to_cells = (query.detach() - nearest).square().mean()
    to_anchors = (query - nearest.detach()).square().mean()
    return to_cells + beta * to_anchors


def soft_assignment(latent: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return DEC's soft assignment q of cells (b x d) to clusters (k x d), rows summing to 1.

    Student-t kernel, ``q_ij ~ (1 + ||z_i - c_j||^2 / d)^-1`` (Xie et al. 2016, arXiv:1511.06335,
    eq. 1). The original does not divide the squared distance by d. Here it does, because cells of
    a type are at a squared distance of about d in the units of `fit.metric`.
    """
    kernel = 1 / (1 + torch.cdist(latent, centroids).square() / latent.shape[1])
    return kernel / kernel.sum(1, keepdim=True)


def target_distribution(q: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """Return DEC's sharpened target ``p_ij ~ q_ij^2 / f_j`` (arXiv:1511.06335, eq. 3).

    `frequency` holds the soft cluster sizes, f_j = sum_i q_ij over all cells, shape (k,).
    """
    weight = q.square() / frequency
    return weight / weight.sum(1, keepdim=True)


def dec(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Return DEC's loss, the mean of ``KL(p || q)`` over cells (arXiv:1511.06335, eq. 2)."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(1).mean()
