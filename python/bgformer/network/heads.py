"""The two attention heads, and which latent columns and anchors belong to each.

The linear head uses principal components of scaled log counts, which separate rare types. The
learned head uses an encoding of Pearson residuals, which keeps large types together. Each head
has its own anchors and half of each cell's weight.
"""

from __future__ import annotations

N_HEADS = 2
LEAST_LATENT = 4
"""Minimum number of latent dimensions: two for each head."""
_LEARNED_WIDTH = 3 / 8
"""Share of the latent dimensions that belong to the learned head."""


def head_columns(n_latent: int) -> tuple[slice, slice]:
    """Return the latent columns of the linear and the learned head."""
    n_linear = n_latent - max(2, round(_LEARNED_WIDTH * n_latent))
    return slice(0, n_linear), slice(n_linear, n_latent)


def head_anchors(n_anchors: int) -> tuple[slice, slice]:
    """Return the anchors of the linear and the learned head."""
    n_linear = -(-n_anchors // N_HEADS)
    return slice(0, n_linear), slice(n_linear, n_anchors)
