"""What the heads see of cells: matrices that are sparse but for a few levels of what is absent.

Scaled log counts and Pearson residuals of a count of 0 are not 0, so neither matrix is sparse. But
these values depend on the size factor of the cell alone, and smoothly, or not even on that. They
are therefore computed at a few levels of the size factor and interpolated. Only counts that are
not 0 are taken one by one, so the time grows with these, not with cells times genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from bgformer.data.scaling import MAX_STANDARDISED, THETA

if TYPE_CHECKING:
    from bgformer.runtime.sparse_rows import SparseRows

_SPACING = 0.25
"""Distance between levels, in natural logarithms of the size factor."""
_POINTS = 6
"""Number of levels from which a value is interpolated; with this spacing, by a polynomial that is
off by less than 1 in 3 million."""


class Seen(NamedTuple):
    """The b x g matrix ``shares @ absent + changes``.

    Attributes
    ----------
    shares
        Shares of the cells in the levels, rows summing to 1, b x l.
    absent
        Values of counts of 0 at each level, l x g.
    changes
        Differences from these at the counts that are not 0, b x g.
    """

    shares: torch.Tensor
    absent: torch.Tensor
    changes: SparseRows

    def times(self, dense: torch.Tensor) -> torch.Tensor:
        """Return the product with a dense matrix (g x d), b x d."""
        if not torch.is_grad_enabled():
            return self._of_levels(dense, _precise(dense.device)).addmm_(
                self.changes.matrix(), dense
            )
        product: torch.Tensor = _Product.apply(dense, self)  # type: ignore[no-untyped-call]
        return product

    def _of_levels(self, dense: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
        """Return the product of what is absent with a dense matrix, b x d, computed in a type."""
        of_levels = self.absent.to(kind) @ dense.to(kind)
        return (self.shares.to(kind) @ of_levels).to(dense.dtype)

    def of_genes(self, genes: torch.Tensor) -> Seen:
        """Return the matrix with 0 in genes that are False, shape (g,)."""
        values = self.changes.values * genes.index_select(0, self.changes.columns)
        return Seen(self.shares, self.absent * genes, self.changes._replace(values=values))

    def dense(self) -> torch.Tensor:
        """Return the matrix as one tensor, b x g."""
        return self.shares @ self.absent + self.changes.dense()


def _precise(device: torch.device) -> torch.dtype:
    """Return the type in which sums over levels do not depend on how many levels a block has."""
    return torch.float32 if device.type == "mps" else torch.float64


class _Product(torch.autograd.Function):
    """`Seen.times`: torch's own derivative of a sparse product takes ten times as long."""

    @staticmethod
    def forward(ctx: Any, dense: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return the product."""
        ctx.seen = seen
        return seen._of_levels(dense, dense.dtype).addmm_(seen.changes.matrix(), dense)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the derivative with respect to the dense matrix."""
        seen, gradient = ctx.seen, gradient.contiguous()
        of_absent = seen.absent.T @ (seen.shares.T @ gradient)
        return of_absent.addmm_(seen.changes.transposed_matrix(), gradient), None


def scaled_logs(
    counts: SparseRows,
    size_factors: torch.Tensor,
    factor: torch.Tensor,
    mean: torch.Tensor,
    deviation: torch.Tensor,
) -> Seen:
    """Return scaled log counts: mean 0, standard deviation 1, clipped to ±10.

    Parameters
    ----------
    counts, size_factors
        Counts, b x g, and size factors, b x 1.
    factor
        Factor on normalised counts before the logarithm, a scalar.
    mean, deviation
        Mean and standard deviation of each gene's log counts, shape (g,) each.
    """
    # index_select takes a sixth of the time of brackets
    absent = -mean / deviation
    present = counts.of_rows(factor / size_factors).mul_(counts.values).log1p_()
    present.div_(deviation.index_select(0, counts.columns))
    of_absent = absent.index_select(0, counts.columns)
    bounds = (-MAX_STANDARDISED, MAX_STANDARDISED)
    changes = present.add_(of_absent).clamp_(*bounds).sub_(of_absent.clamp_(*bounds))
    return Seen(
        torch.ones_like(size_factors),
        absent.clamp_(*bounds)[None],
        counts._replace(values=changes),
    )


def residuals(
    counts: SparseRows, size_factors: torch.Tensor, gene_mean: torch.Tensor, most: float
) -> Seen:
    """Return Pearson residuals, clipped to ±`most`.

    They are those used to choose genes; see `data.genes.residual_variance` for the formula and its
    source.

    Parameters
    ----------
    counts, size_factors
        Counts, b x g, and size factors, b x 1.
    gene_mean
        Mean count of each gene in a cell with size factor 1, shape (g,).
    most
        The bound.
    """
    shares, levels = _levels(size_factors, most)
    expected = counts.of_rows(size_factors).mul_(gene_mean.index_select(0, counts.columns))
    zero = torch.zeros((), device=gene_mean.device)
    change = _residuals(counts.values, expected, most) - _residuals(zero, expected, most)
    return Seen(shares, _residuals(zero, levels * gene_mean, most), counts._replace(values=change))


def _residuals(counts: torch.Tensor, expected: torch.Tensor, most: float) -> torch.Tensor:
    """Return the residuals of counts with these means."""
    precision = torch.addcmul(expected, expected, expected, value=1 / THETA).add_(1e-12).rsqrt_()
    return (counts - expected).mul_(precision).clamp_(-most, most)


def _levels(size_factors: torch.Tensor, most: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the shares of cells (b x 1) in levels, b x l, and the size factors of these, l x 1.

    Levels are at multiples of the spacing, so that a cell does not depend on the others. Its
    shares are the coefficients of Lagrange's polynomial through the nearest levels.
    """
    if most < THETA**0.5 or len(size_factors) <= _POINTS:
        # Residuals of zeros are above -sqrt(theta). A bound within that, in a model of fewer than
        # 100 cells, makes a kink that no polynomial follows.
        return torch.eye(len(size_factors), device=size_factors.device), size_factors
    place = size_factors.ravel().log() / _SPACING
    first = place.floor().long() - (_POINTS // 2 - 1)
    lowest, n_levels = first.min(), int(first.max() - first.min()) + _POINTS
    points = torch.arange(_POINTS, device=place.device)
    beyond = (place - first)[:, None] - points
    own = torch.eye(_POINTS, dtype=torch.bool, device=place.device)
    apart = torch.where(own, 1, points[:, None] - points)
    factors = torch.where(own, 1.0, beyond[:, None] / apart)
    shares = place.new_zeros((len(place), n_levels))
    shares.scatter_(1, (first - lowest)[:, None] + points, factors.prod(2))
    levels = (lowest + torch.arange(n_levels, device=place.device)) * _SPACING
    return shares, levels.to(place.dtype).exp()[:, None]
