"""Apply the network's heads to cells, one block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bgformer.runtime import block_sizes
from bgformer.runtime.sparse_rows import SparseRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgformer.data.counts import CountData
    from bgformer.network.network import Network


def embed(network: Network, data: CountData, keep: np.ndarray | None = None) -> np.ndarray:
    """Return the latent of every cell in the units of `fit.metric`, n x n_latent float32.

    Parameters
    ----------
    network, data
        The network and the cells.
    keep
        False for genes that were not measured in these cells, shape (g,); None if all were.
    """
    mask = None if keep is None else torch.as_tensor(keep, device=network.anchors.device)
    return _pass(
        network, data, lambda counts, sizes: network.latent(*network.heads(counts, sizes, mask))
    )


def embed_linear(network: Network, data: CountData, keep: np.ndarray | None = None) -> np.ndarray:
    """Return the linear head's columns of `embed`, n x d float32, in less time."""
    mask = None if keep is None else torch.as_tensor(keep, device=network.anchors.device)
    return _pass(
        network,
        data,
        lambda counts, sizes: network.linear_in_units(network.linear(counts, sizes, mask)),
    )


def raw_heads(network: Network, data: CountData) -> tuple[np.ndarray, np.ndarray]:
    """Return the output of both heads before the metric, n x d float32 each."""
    n_linear = len(network.linear_centre)
    both = _pass(network, data, lambda *cells: torch.cat(network.heads(*cells), dim=1))
    return both[:, :n_linear], both[:, n_linear:]


def learned_units(network: Network, data: CountData) -> np.ndarray:
    """Return the learned head's output in the units of `fit.metric`, n x d float32."""
    return _pass(
        network, data, lambda *cells: network.in_units(network.encode(network.residuals(*cells)))
    )


@torch.no_grad()
def _pass(
    network: Network,
    data: CountData,
    of_cells: Callable[[SparseRows, torch.Tensor], torch.Tensor],
) -> np.ndarray:
    """Apply a function of counts and size factors to all cells; return its rows."""
    device = network.anchors.device

    def work(rows: range) -> np.ndarray:
        block = data.rows(slice(rows.start, rows.stop))
        size_factors = torch.from_numpy(block.size_factors)[:, None].to(device)
        return of_cells(SparseRows.on_device(block.counts, device), size_factors).cpu().numpy()

    cells = range(data.n_cells)
    return np.concatenate(
        [
            part
            for start in range(0, data.n_cells, block_sizes.COUNTS)
            for part in network.portions.each(work, cells[start : start + block_sizes.COUNTS])
        ]
    )
