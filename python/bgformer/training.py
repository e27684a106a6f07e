"""The training loop: minibatches, schedule, the joint objective, and the pass over all cells."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from bgformer import losses, ranks
from bgformer.codebook import Revival, set_anchors
from bgformer.counts import BLOCK
from bgformer.devices import Portions, dense
from bgformer.network import GeneParameters, Network, residuals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgformer.counts import CountData
    from bgformer.network import Encoded
    from bgformer.progress import Progress

_AXES = 50
"""Principal components that the latent starts from."""
_AXES_CELLS = 10_000
"""Cells that they are found on."""
_ANCHOR_CELLS = 20_000
"""Cells that the anchors are set from."""
_SLICES = 2
"""Parts of a minibatch that CPUs work on at once, each on one thread. They are as many whatever
the number of threads, and their gradients are added in their order, so that the sums, and with
them the clusters, do not depend on the machine's cores."""


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

    max_steps: int = 300
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 1 / 3
    """Share of the steps before the anchors are set and used."""
    mask_share: float = 0.3
    """Share of a cell's genes hidden from the encoder in each view."""
    genes_per_step: int = 256
    """Genes, drawn anew each step, on which the ZINB term is estimated."""
    revive_every: int = 50


def network_for(
    data: CountData, *, n_batches: int, n_anchors: int, n_latent: int, seed: int
) -> Network:
    """Return an untrained network that knows the data's genes and starts from their PCA."""
    total = np.asarray(data.counts.sum(axis=0), dtype=np.float64).ravel()
    gene_mean = total / data.size_factors.sum(dtype=np.float64)
    with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
        torch.random.default_generator.manual_seed(seed)
        network = Network(
            gene_mean,
            np.sqrt(data.n_cells),  # as in the choice of genes
            n_batches=n_batches,
            n_anchors=n_anchors,
            n_latent=n_latent,
        )
    network.start_from(_principal_axes(network, data, seed))
    return network


def _principal_axes(network: Network, data: CountData, seed: int) -> np.ndarray:
    """Return the axes (k x g) of the first principal components of the residuals.

    They are divided by the root mean square deviation along them, so that the latent starts with
    deviations about 1.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_AXES_CELLS])
    sample = data.rows(rows)
    expected = torch.from_numpy(sample.size_factors)[:, None] * network.gene_mean
    counts = dense(sample.counts, torch.device("cpu"))
    seen = residuals(counts, expected, float(network.max_residual))
    k = min(_AXES, len(network.linear.weight), *seen.shape)
    with threadpool_limits(limits=1):  # the order of a parallel sum changes the last digits
        found = PCA(k, svd_solver="randomized", random_state=seed).fit(seen.numpy())
    return found.components_ / np.sqrt(max(found.explained_variance_.mean(), 1e-12))


class _Minibatch(NamedTuple):
    counts: torch.Tensor
    size_factors: torch.Tensor
    batch: torch.Tensor


class _Minibatches:
    """Shuffled minibatches of equal size without end, each cell once per round."""

    def __init__(self, data: CountData, size: int, seed: int) -> None:
        self.data = data
        self.size = min(size, data.n_cells)
        self.rng = np.random.default_rng(seed)
        self.order = np.empty(0, dtype=np.int64)

    def draw(self) -> np.ndarray:
        """Return the cells of the next minibatch."""
        if len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(self.data.n_cells)])
        rows, self.order = self.order[: self.size], self.order[self.size :]
        return rows

    def load(self, rows: np.ndarray, device: torch.device) -> _Minibatch:
        """Return what training needs of these cells."""
        return _Minibatch(
            dense(self.data.counts[rows], device),
            torch.from_numpy(self.data.size_factors[rows])[:, None].to(device),
            torch.from_numpy(self.data.batch[rows]).to(device),
        )


def train(
    network: Network,
    data: CountData,
    *,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    progress: Progress,
    centroids: np.ndarray | None = None,
    n_threads: int = 1,
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
    n_threads
        Threads to work on; the result does not depend on it.

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
    minibatches = _Minibatches(data, schedule.batch_size, seed)
    of_genes = network.of_genes()
    shared = [each for each in network.parameters() if not any(each is one for one in of_genes)]
    dec = None
    if centroids is not None:
        dec = _DEC(network, centroids)
        shared.append(dec.centroids)
    optimizer = torch.optim.AdamW(
        [*shared, *of_genes],
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        total_steps=schedule.max_steps,
        pct_start=max(0.1, min(0.9, 1.5 / schedule.max_steps)),  # a rise of 0 steps divides by 0
    )
    revival = Revival(network, schedule.revive_every)
    anchors_at = int(schedule.warm_up * schedule.max_steps)
    # DEC counts the cells of its clusters over all that a rank has of a minibatch
    n_slices = max(1, _SLICES // ranks.count()) if device.type == "cpu" and dec is None else 1
    first = ranks.index() * n_slices
    masks = [torch.Generator().manual_seed(seed + first + part) for part in range(n_slices)]
    history: list[dict[str, float]] = []
    network.train()

    def work(
        rows: np.ndarray, genes: torch.Tensor, drawn: GeneParameters, masks: torch.Generator
    ) -> _Slice:
        cells = minibatches.load(rows, device)
        views = _two_views(network, cells, schedule.mask_share, masks)
        terms = _terms(network, cells, views, genes, drawn)
        if dec is not None:
            terms["dec"] = dec.loss(views)
        loss = terms["zinb"] + sum(
            getattr(objective, name) * term for name, term in terms.items() if name != "zinb"
        )
        share = len(rows) / minibatches.size
        gradients = torch.autograd.grad(share * loss, [*shared, *drawn], allow_unused=True)
        values = share * torch.stack([loss, *terms.values()]).detach()
        return _Slice(["loss", *terms], values, gradients, views.query.detach())

    portions = Portions()

    def in_portions(rows: np.ndarray, *given: Any) -> list[_Slice]:
        return list(portions.each(lambda part: work(part, *given), rows))

    with ThreadPoolExecutor(min(n_slices, n_threads)) as workers:
        for step in range(schedule.max_steps):
            if step == anchors_at and not network.anchors_ready:
                set_anchors(network, _some_queries(network, data, seed), seed)
            genes = torch.randperm(data.n_genes, generator=generator)[: schedule.genes_per_step]
            genes = genes.to(device)
            # leaves of their own: gradients are then made for these genes, not for all
            drawn = GeneParameters(*(each.detach()[genes].requires_grad_() for each in of_genes))
            slices = np.array_split(minibatches.draw(), n_slices * ranks.count())
            mine = slices[first : first + n_slices]
            given = (mine, [genes] * n_slices, [drawn] * n_slices, masks)
            done = [part for parts in workers.map(in_portions, *given) for part in parts]
            values, queries = _set_gradients([*shared, *drawn], done, 2 * minibatches.size)
            if not np.isfinite(values["loss"]):
                raise FloatingPointError(
                    f"the loss became {values['loss']} at step {step + 1}; the counts may hold "
                    f"extreme values (the largest is {data.counts.max():.4g})."
                )
            torch.nn.utils.clip_grad_norm_([*shared, *drawn], 5.0)
            for every, some in zip(of_genes, drawn, strict=True):
                every.grad = torch.zeros_like(every) if every.grad is None else every.grad.zero_()
                every.grad[genes] = some.grad
            optimizer.step()
            scheduler.step()
            if network.anchors_ready:
                revival.observe(queries, optimizer, generator)
            history.append({"step": step + 1, **values})
            progress.update(step + 1, values["loss"])
    network.eval()
    names = list(dict.fromkeys(name for record in history for name in record))
    return {name: np.array([record.get(name, np.nan) for record in history]) for name in names}


class _Slice(NamedTuple):
    """What one part of a minibatch adds to the means over its cells."""

    names: list[str]
    values: torch.Tensor
    gradients: tuple[torch.Tensor | None, ...]
    query: torch.Tensor


def _set_gradients(
    parameters: list[torch.nn.Parameter], slices: list[_Slice], n_queries: int
) -> tuple[dict[str, float], torch.Tensor]:
    """Set the gradients to those of all cells of a minibatch, added in a fixed order.

    Returns
    -------
    Loss and terms, and the queries of all cells, which other ranks may have had.
    """
    used = [i for i, gradient in enumerate(slices[0].gradients) if gradient is not None]
    sums = [reduce(torch.add, [part.gradients[i] for part in slices]) for i in used]
    sums.append(reduce(torch.add, [part.values for part in slices]))
    queries = torch.cat([part.query for part in slices])
    if ranks.count() > 1:
        everyone = queries.new_zeros(ranks.count(), n_queries, queries.shape[1])
        everyone[ranks.index(), : len(queries)] = queries
        there = queries.new_zeros(ranks.count(), n_queries)
        there[ranks.index(), : len(queries)] = 1
        flat = ranks.add(torch.cat([part.ravel() for part in (*sums, everyone, there)]))
        pieces = flat.split([part.numel() for part in (*sums, everyone, there)])
        sums = [piece.view_as(part) for piece, part in zip(pieces, sums, strict=False)]
        queries = pieces[-2].view_as(everyone)[pieces[-1].view_as(there) > 0]
    for parameter in parameters:
        parameter.grad = None  # stays so where not in use yet, and is then not decayed either
    for i, gradient in zip(used, sums, strict=False):
        parameters[i].grad = gradient
    return dict(zip(slices[0].names, sums[-1].tolist(), strict=True)), queries


def _two_views(
    network: Network, cells: _Minibatch, mask_share: float, generator: torch.Generator
) -> Encoded:
    """Encode two independently masked views of the same b cells, stacked to 2b rows."""
    keep = _keep((2, *cells.counts.shape), mask_share, generator).to(cells.counts.device)
    return network.encode(cells.counts, cells.size_factors, keep)


def _keep(shape: tuple[int, ...], mask_share: float, generator: torch.Generator) -> torch.Tensor:
    """Return 1 where a value is kept and 0 where it is masked.

    One random byte for each decides, drawn eight at a time: a fifth of the time of torch.rand,
    and a share that is right to 1/256.
    """
    n = math.prod(shape)
    words = torch.empty(-(-n // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return (words.view(torch.uint8)[:n].view(shape) >= round(256 * mask_share)).float()


def _terms(
    network: Network,
    cells: _Minibatch,
    views: Encoded,
    genes: torch.Tensor,
    of_genes: GeneParameters,
) -> dict[str, torch.Tensor]:
    """Return the unweighted terms of the objective for one minibatch."""
    n = len(cells.counts)
    predicted = network.decode(views.latent, cells.batch.repeat(2), of_genes)
    terms = {
        # Per gene, so that its weight against the other terms does not depend on how many genes
        # were chosen; the genes drawn stand for all, so the estimate is unbiased.
        "zinb": losses.zinb(
            cells.counts[:, genes],
            predicted.log_mean + cells.size_factors.log().repeat(2, 1),
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
            self.frequency = ranks.add(q.detach().sum(0))
        self.steps += 1
        return losses.dec(q, losses.target_distribution(q.detach(), self.frequency))


def _some_queries(network: Network, data: CountData, seed: int) -> torch.Tensor:
    """Encode a random sample of cells, unmasked."""
    rows = np.random.default_rng(seed).permutation(data.n_cells)[:_ANCHOR_CELLS]
    return torch.cat([encoded.query for encoded in _pass(network, data.rows(rows))])


@torch.no_grad()
def _pass(
    network: Network, data: CountData, keep: torch.Tensor | None = None
) -> Iterator[Encoded]:
    """Encode all cells, a block at a time."""
    device = network.anchors.device

    def work(rows: range) -> Encoded:
        block = data.rows(slice(rows.start, rows.stop))
        size_factors = torch.from_numpy(block.size_factors)[:, None].to(device)
        return network.encode(dense(block.counts, device), size_factors, keep)

    cells = range(data.n_cells)
    for start in range(0, data.n_cells, BLOCK):
        yield from network.portions.each(work, cells[start : start + BLOCK])


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
    blocks = _pass(network, data, mask)
    return np.concatenate([network.in_units(encoded.latent).cpu().numpy() for encoded in blocks])
