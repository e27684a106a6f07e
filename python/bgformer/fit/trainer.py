"""Training: minibatches, schedule and the joint objective."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from bgformer.arguments import weight
from bgformer.fit.embedding import learned_units
from bgformer.fit.kmeans import kmeans_centres
from bgformer.network import losses
from bgformer.network.anchor_weights import anchor_weights
from bgformer.runtime import ranks
from bgformer.runtime.devices import Portions, dense

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.network.network import Network
    from bgformer.runtime.progress import Progress

_TOKEN_CELLS = 10_000
"""Maximum number of cells used to set the anchor tokens."""
_PROFILE_PRIOR = 5.0
"""Number of average cells added to the profile of each anchor."""
_SLICES = 2
"""Number of parts of a minibatch that a CPU processes in parallel, one thread each. It does not
depend on the number of threads, and gradients are added in a fixed order. The clusters therefore
do not depend on the number of cores."""


@dataclass(frozen=True)
class Objective:
    """Weights of the loss terms; the ZINB reconstruction, per gene, has weight 1."""

    self_supervised: float = 0.3
    commitment: float = 0.1
    dec: float = 0.0
    """Weight of DEC. If above 0, training continues with DEC after the first clusters are found.
    DEC is off by default because it makes clusters worse (docs/benchmarks.md)."""

    def __post_init__(self) -> None:
        """Check each weight, and convert numpy numbers to Python numbers."""
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, weight(name, getattr(self, name)))


@dataclass(frozen=True)
class Schedule:
    """Number and size of the training steps."""

    max_steps: int = 100
    batch_size: int = 256
    learning_rate: float = 3e-4
    genes_per_step: int = 256
    """Number of genes, drawn again at each step, on which the ZINB term is estimated."""


class _Minibatch(NamedTuple):
    counts: torch.Tensor
    size_factors: torch.Tensor
    batch: torch.Tensor


class _Minibatches:
    """Endless shuffled minibatches of equal size; each epoch sees each cell once."""

    def __init__(self, data: CountData, size: int, seed: int) -> None:
        self.data = data
        self.size = min(size, data.n_cells)
        self.rng = np.random.default_rng(seed)
        self.order = np.empty(0, dtype=np.int64)

    def draw(self) -> np.ndarray:
        """Return the indices of the cells in the next minibatch."""
        if len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(self.data.n_cells)])
        rows, self.order = self.order[: self.size], self.order[self.size :]
        return rows

    def load(self, rows: np.ndarray, device: torch.device) -> _Minibatch:
        """Return counts, size factors and batches of these cells as tensors."""
        return _Minibatch(
            dense(self.data.counts[rows], device),
            torch.from_numpy(self.data.size_factors[rows])[:, None].to(device),
            torch.from_numpy(self.data.batch[rows]).to(device),
        )


class _Halves(NamedTuple):
    """Two disjoint halves of the genes, and the genes that the view of each half reconstructs."""

    seen: tuple[torch.Tensor, torch.Tensor]
    drawn: tuple[torch.Tensor, torch.Tensor]


def _halves(n_genes: int, n_drawn: int, generator: torch.Generator) -> _Halves:
    """Split the genes into two random halves; each view reconstructs genes of the other half."""
    order = torch.randperm(n_genes, generator=generator)
    one, other = order[: n_genes // 2], order[n_genes // 2 :]
    return _Halves((one, other), (other[: n_drawn // 2], one[: n_drawn // 2]))


def set_tokens(network: Network, data: CountData, seed: int) -> None:
    """Set the learned head's anchors to k-means centres, and their profiles to mean counts.

    A profile is the weighted mean count of each gene in the cells that attend to the anchor.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(data.n_cells)[:_TOKEN_CELLS])
    sample = data.rows(rows)
    units = learned_units(network, sample)
    centres = kmeans_centres(units, min(len(network.anchors), len(rows)), seed, max_iter=5)
    weights = anchor_weights(units, centres, n_heads=1)
    own = sparse.csr_matrix(weights.T @ sample.counts).toarray()
    mean = network.gene_mean.cpu().numpy()
    size = np.asarray(weights.T @ sample.size_factors)[:, None]
    profile = (own + _PROFILE_PRIOR * mean) / (size + _PROFILE_PRIOR)
    with torch.no_grad():
        network.anchors[: len(centres)] = torch.as_tensor(centres)
        network.log_profile[: len(centres)] = torch.as_tensor(np.log(profile + 1e-8))


class Trainer:
    """Trains the learned head in place on the joint objective, step by step.

    Parameters
    ----------
    network
        Network on its device, with its anchors set.
    data
        The training cells.
    objective, schedule
        Weights of the loss terms; number and size of the steps.
    seed
        Seed for the order of cells and the halves of the genes.
    centroids
        Cluster centroids (k x d) for DEC; None leaves DEC out of the objective.
    """

    def __init__(
        self,
        network: Network,
        data: CountData,
        objective: Objective,
        schedule: Schedule,
        seed: int,
        centroids: np.ndarray | None = None,
    ) -> None:
        self.network, self.objective, self.schedule = network, objective, schedule
        self.generator = torch.Generator().manual_seed(seed)
        self.minibatches = _Minibatches(data, schedule.batch_size, seed)
        self.parameters = list(network.parameters())
        self.dec = None if centroids is None else _DEC(network, centroids)
        if self.dec is not None:
            self.parameters.append(self.dec.centroids)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=schedule.learning_rate, weight_decay=0.0, fused=True
        )
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            schedule.learning_rate,
            total_steps=schedule.max_steps,
            pct_start=max(0.1, min(0.9, 1.5 / schedule.max_steps)),  # no warm-up would divide by 0
        )
        self.portions = Portions()
        self.n_steps = 0

    @property
    def n_slices(self) -> int:
        """Number of parts of a minibatch that this process works on in parallel."""
        # DEC counts the cells of a cluster over a rank's whole share of the minibatch
        parallel = self.network.anchors.device.type == "cpu" and self.dec is None
        return max(1, _SLICES // ranks.count()) if parallel else 1

    def step(self, workers: Executor) -> dict[str, float]:
        """Take one step; return the loss and each unweighted term.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        self.n_steps += 1
        n_genes = self.minibatches.data.n_genes
        halves = _halves(n_genes, self.schedule.genes_per_step, self.generator)
        slices = np.array_split(self.minibatches.draw(), self.n_slices * ranks.count())
        first = ranks.index() * self.n_slices
        mine = slices[first : first + self.n_slices]
        done = workers.map(self._in_portions, mine, [halves] * self.n_slices)
        values = _set_gradients(self.parameters, [part for parts in done for part in parts])
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the loss became {values['loss']} at step {self.n_steps}; the counts may hold "
                f"extreme values (the largest is {self.minibatches.data.counts.max():.4g})."
            )
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.scheduler.step()
        return values

    def _in_portions(self, rows: np.ndarray, halves: _Halves) -> list[_Slice]:
        """Return contributions of some cells to the gradients, in portions that fit in memory."""
        return list(self.portions.each(lambda part: self._work(part, halves), rows))

    def _work(self, rows: np.ndarray, halves: _Halves) -> _Slice:
        """Return contributions of some cells to the minibatch's mean terms and their gradients."""
        cells = self.minibatches.load(rows, self.network.anchors.device)
        terms = _terms(self.network, cells, halves, self.dec)
        loss = terms["zinb"] + sum(
            getattr(self.objective, name) * term for name, term in terms.items() if name != "zinb"
        )
        share = len(rows) / self.minibatches.size
        gradients = torch.autograd.grad(share * loss, self.parameters)
        values = share * torch.stack([loss, *terms.values()]).detach()
        return _Slice(["loss", *terms], values, gradients)


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
    """Train for all steps of the schedule.

    Parameters
    ----------
    network, data, objective, schedule, seed, centroids
        See :class:`Trainer`.
    progress
        Updated after every step.
    n_threads
        Number of threads; the result does not depend on it.

    Returns
    -------
    "step", "loss" and each unweighted term, arrays with one value per step.
    """
    trainer = Trainer(network, data, objective, schedule, seed, centroids)
    history: list[dict[str, float]] = []
    network.train()
    with ThreadPoolExecutor(min(trainer.n_slices, n_threads)) as workers:
        for step in range(1, schedule.max_steps + 1):
            history.append({"step": step, **trainer.step(workers)})
            progress.update(step, history[-1]["loss"])
    network.eval()
    return {name: np.array([record[name] for record in history]) for name in history[0]}


class _Slice(NamedTuple):
    """Contribution of one part of a minibatch to the mean terms and their gradients."""

    names: list[str]
    values: torch.Tensor
    gradients: tuple[torch.Tensor, ...]


def _set_gradients(parameters: list[torch.nn.Parameter], slices: list[_Slice]) -> dict[str, float]:
    """Sum the gradients over a minibatch in a fixed order and set them.

    Returns
    -------
    The loss and its terms.
    """
    sums = [reduce(torch.add, parts) for parts in zip(*(s.gradients for s in slices), strict=True)]
    sums.append(reduce(torch.add, [part.values for part in slices]))
    if ranks.count() > 1:
        flat = ranks.add(torch.cat([part.ravel() for part in sums]))
        pieces = torch.split(flat, [part.numel() for part in sums])
        sums = [piece.view_as(part) for piece, part in zip(pieces, sums, strict=True)]
    for parameter, gradient in zip(parameters, sums, strict=False):
        parameter.grad = gradient
    return dict(zip(slices[0].names, sums[-1].tolist(), strict=True))


def _terms(
    network: Network, cells: _Minibatch, halves: _Halves, dec: _DEC | None
) -> dict[str, torch.Tensor]:
    """Return the unweighted terms of the objective for one part of a minibatch.

    Each view sees half of the genes; doubling the residuals restores the scale of all genes.
    """
    seen = network.residuals(cells.counts, cells.size_factors)
    queries = [network.in_units(network.encode(2 * seen[:, half], half)) for half in halves.seen]
    zinb = torch.zeros(())
    for query, genes in zip(queries, halves.drawn, strict=True):
        predicted = network.reconstruct(query, cells.size_factors, cells.batch, genes)
        log_likelihood = losses.zinb(
            cells.counts[:, genes],
            predicted.log_mean,
            predicted.log_dispersion,
            predicted.dropout_logit.expand(len(query), -1),
        )
        # Per gene, so that its weight relative to the other terms does not depend on the number
        # of genes; the genes drawn represent all.
        zinb = zinb + log_likelihood / len(genes) / len(queries)
    terms = {
        "zinb": zinb,
        "self_supervised": losses.self_supervised(queries[0], queries[1]),
        "commitment": losses.commitment(torch.cat(queries), network.anchors),
    }
    if dec is not None:
        terms["dec"] = dec.loss(torch.cat(queries))
    return terms


class _DEC:
    """The DEC term: its trainable centroids, and the cluster sizes for its target."""

    every = 20
    """Number of steps between updates of the soft cluster sizes, which change slowly."""

    def __init__(self, network: Network, centroids: np.ndarray) -> None:
        device = network.anchors.device
        self.steps = 0
        self.centroids = torch.nn.Parameter(torch.as_tensor(centroids, device=device))
        self.frequency = torch.ones(len(centroids), device=device)

    def loss(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the term for one minibatch (two views of each cell)."""
        q = losses.soft_assignment(queries, self.centroids)
        if self.steps % self.every == 0:
            self.frequency = ranks.add(q.detach().sum(0))
        self.steps += 1
        return losses.dec(q, losses.target_distribution(q.detach(), self.frequency))
