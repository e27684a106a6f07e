"""The training loop: minibatches, schedule, the joint objective, and the pass over all cells."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from bgformer import losses
from bgformer.codebook import Revival, set_anchors
from bgformer.counts import BLOCK, gene_means, log_moments, log_normalised
from bgformer.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy import sparse

    from bgformer.counts import CountData
    from bgformer.network import Encoded
    from bgformer.progress import Progress

_ANCHOR_CELLS = 20_000
"""Cells that the anchors are set from."""


@dataclass(frozen=True)
class Objective:
    """Weights of the terms; ZINB reconstruction per gene has weight 1."""

    self_supervised: float = 1.0
    commitment: float = 0.1
    dec: float = 0.0
    """Weight of DEC in the refinement after training; 0 leaves the refinement out. Off by default:
    on three real sets it moved the ARI by less than the seed does (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Schedule:
    """How the network is trained."""

    max_steps: int = 600
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 1 / 3
    """Share of the steps before the anchors are set and used."""
    mask_share: float = 0.3
    """Share of a cell's genes hidden from the encoder in each view."""
    genes_per_step: int = 512
    """Genes, drawn anew each step, on which the ZINB term is estimated."""
    revive_every: int = 50


def pick_device(device: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises
    ------
    ValueError
        If the device is unknown or this machine has none.
    """
    if not isinstance(device, str):
        raise ValueError(f"device is {device!r}; use 'auto', 'cpu', 'cuda' or 'mps'.")
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device '{device}' is unknown; use 'auto', 'cpu', 'cuda' or 'mps'.")
    missing = (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()) or (
        chosen.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ValueError(
            f"device '{device}' was asked for, but torch {torch.__version__} finds none on this "
            f"machine; use device='auto' or 'cpu'."
        )
    return chosen


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums over threads depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_for(
    data: CountData, *, n_batches: int, n_anchors: int, n_latent: int, seed: int
) -> Network:
    """Return an untrained network that standardises by, and starts from, the data's genes."""
    mean, scale = log_moments(data)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
        torch.random.default_generator.manual_seed(seed)
        return Network(
            mean,
            scale,
            np.log(gene_means(data) + 1e-4),
            n_batches=n_batches,
            n_anchors=n_anchors,
            n_latent=n_latent,
        )


class _Minibatch(NamedTuple):
    counts: torch.Tensor
    log_counts: torch.Tensor
    log_size: torch.Tensor
    batch: torch.Tensor


class _Minibatches:
    """Shuffled minibatches of equal size without end, each cell once per round."""

    def __init__(
        self, data: CountData, log_counts: sparse.csr_matrix, size: int, seed: int
    ) -> None:
        self.data, self.log_counts = data, log_counts
        self.size = min(size, data.n_cells)
        self.rng = np.random.default_rng(seed)
        self.order = np.empty(0, dtype=np.int64)

    def draw(self, device: torch.device) -> _Minibatch:
        """Return the next minibatch."""
        if len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(self.data.n_cells)])
        rows, self.order = self.order[: self.size], self.order[self.size :]
        return _Minibatch(
            dense(self.data.counts[rows], device),
            dense(self.log_counts[rows], device),
            torch.from_numpy(np.log(self.data.size_factors[rows]))[:, None].to(device),
            torch.from_numpy(self.data.batch[rows]).to(device),
        )


def dense(rows: sparse.csr_matrix, device: torch.device) -> torch.Tensor:
    """Return sparse rows as a dense tensor on the device."""
    return torch.from_numpy(rows.toarray()).to(device)


def train(
    network: Network,
    data: CountData,
    *,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    progress: Progress,
    centroids: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Train the network in place on the joint objective.

    Parameters
    ----------
    network
        On its device already.
    data
        The training cells.
    objective, schedule
        Weights of the terms; steps and their size.
    seed
        Seeds the order of cells, the masks, the genes drawn and the anchors.
    progress
        Told of every step.
    centroids
        Clusters (k x d) to refine by DEC, which is part of the objective only when they are given.

    Returns
    -------
    "step", "loss" and each unweighted term, one value per step.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    device = network.anchors.device
    generator = torch.Generator().manual_seed(seed)
    log_counts = log_normalised(data)
    minibatches = _Minibatches(data, log_counts, schedule.batch_size, seed)
    parameters = list(network.parameters())
    if centroids is not None:
        dec = _DEC(network, centroids)
        parameters.append(dec.centroids)
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        total_steps=schedule.max_steps,
        pct_start=max(0.1, min(0.9, 1.5 / schedule.max_steps)),  # a rise of 0 steps divides by 0
    )
    revival = Revival(network, schedule.revive_every)
    anchors_at = int(schedule.warm_up * schedule.max_steps)
    history: list[dict[str, float]] = []
    network.train()
    for step in range(schedule.max_steps):
        if step == anchors_at and not network.anchors_ready:
            set_anchors(network, _some_queries(network, log_counts, seed), seed)
        cells = minibatches.draw(device)
        views = _two_views(network, cells.log_counts, schedule.mask_share, generator)
        genes = torch.randperm(data.n_genes, generator=generator)[: schedule.genes_per_step]
        terms = _terms(network, cells, views, genes.to(device))
        if centroids is not None:
            terms["dec"] = dec.loss(views)
        loss = terms["zinb"] + sum(
            getattr(objective, name) * term for name, term in terms.items() if name != "zinb"
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        scheduler.step()
        if network.anchors_ready:
            revival.observe(views.query.detach(), optimizer, generator)
        record = {"step": step + 1, "loss": loss.item()}
        if not np.isfinite(record["loss"]):
            raise FloatingPointError(
                f"the loss became {record['loss']} at step {step + 1}; the counts may hold "
                f"extreme values (the largest is {data.counts.max():.4g})."
            )
        history.append(record | {name: term.item() for name, term in terms.items()})
        progress.update(step + 1, record["loss"])
    network.eval()
    names = list(dict.fromkeys(name for record in history for name in record))
    return {name: np.array([record.get(name, np.nan) for record in history]) for name in names}


def _two_views(
    network: Network, log_counts: torch.Tensor, mask_share: float, generator: torch.Generator
) -> Encoded:
    """Encode two independently masked views of the same b cells, stacked to 2b rows."""
    twice = torch.cat([log_counts, log_counts])
    keep = torch.rand(twice.shape, generator=generator).to(twice.device) >= mask_share
    return network.encode(twice, keep)


def _terms(
    network: Network, cells: _Minibatch, views: Encoded, genes: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the unweighted terms of the objective for one minibatch."""
    n = len(cells.counts)
    predicted = network.decode(views.latent, cells.batch.repeat(2), genes)
    terms = {
        # Per gene, so that its weight against the other terms does not depend on how many genes
        # were chosen; the genes drawn stand for all, so the estimate is unbiased.
        "zinb": losses.zinb(
            cells.counts[:, genes].repeat(2, 1),
            predicted.log_mean + cells.log_size.repeat(2, 1),
            predicted.log_dispersion,
            predicted.dropout_logit,
        )
        / len(genes),
        "self_supervised": losses.self_supervised(views.latent[:n], views.latent[n:]),
    }
    if network.anchors_ready:
        terms["commitment"] = losses.commitment(views.query, network.anchors)
    return terms


class _DEC:
    """The clustering term: centroids that move, and the cluster sizes its target needs."""

    every = 20
    """Steps between two counts of the soft cluster sizes, which change slowly."""

    def __init__(self, network: Network, centroids: np.ndarray) -> None:
        device = network.anchors.device
        self.network = network
        self.steps = 0
        self.centroids = torch.nn.Parameter(torch.as_tensor(centroids, device=device))
        self.frequency = torch.ones(len(centroids), device=device)

    def loss(self, views: Encoded) -> torch.Tensor:
        """Return the term for one minibatch (two views of each cell)."""
        latent = self.network.in_units(views.latent)
        q = losses.soft_assignment(latent, self.centroids)
        if self.steps % self.every == 0:
            self.frequency = q.detach().sum(0)
        self.steps += 1
        return losses.dec(q, losses.target_distribution(q.detach(), self.frequency))


def _some_queries(network: Network, log_counts: sparse.csr_matrix, seed: int) -> torch.Tensor:
    """Encode a random sample of cells, unmasked."""
    n = log_counts.shape[0]
    rows = np.random.default_rng(seed).permutation(n)[:_ANCHOR_CELLS]
    return torch.cat([encoded.query for encoded in _pass(network, log_counts[rows])])


@torch.no_grad()
def _pass(
    network: Network, log_counts: sparse.csr_matrix, keep: torch.Tensor | None = None
) -> Iterator[Encoded]:
    """Encode all cells, a block at a time."""
    device = network.anchors.device
    for start in range(0, log_counts.shape[0], BLOCK):
        yield network.encode(dense(log_counts[start : start + BLOCK], device), keep)


def embed(network: Network, data: CountData, keep: np.ndarray | None = None) -> np.ndarray:
    """Return the latent of every cell in the units of `metric`, n x d float32, in one pass.

    Parameters
    ----------
    network, data
        The trained network and the cells.
    keep
        False for the genes that were not measured in these cells, shape (g,).
    """
    mask = None if keep is None else torch.as_tensor(keep, device=network.anchors.device)[None]
    blocks = _pass(network, log_normalised(data), mask)
    return np.concatenate([network.in_units(encoded.latent).cpu().numpy() for encoded in blocks])
