"""The two attention heads: which columns of the latent and which anchors belong to each.

The linear head looks at principal components of scaled log counts, which keep rare types apart.
The learned head looks at what the encoder makes of Pearson residuals, which keeps large types
together. Each head has anchors of its own, and half of a cell's weight.
"""

from __future__ import annotations

N_HEADS = 2
LEAST_LATENT = 4
"""Fewest dimensions that leave both heads two."""
_LEARNED_WIDTH = 3 / 8
"""Share of the latent's dimensions that the learned head has."""


def head_columns(n_latent: int) -> tuple[slice, slice]:
    """Return the columns of the latent of the linear and of the learned head."""
    n_linear = n_latent - max(2, round(_LEARNED_WIDTH * n_latent))
    return slice(0, n_linear), slice(n_linear, n_latent)


def head_anchors(n_anchors: int) -> tuple[slice, slice]:
    """Return which of the anchors belong to the linear and to the learned head."""
    n_linear = -(-n_anchors // N_HEADS)
    return slice(0, n_linear), slice(n_linear, n_anchors)
