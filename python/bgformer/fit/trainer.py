"""Training: minibatches, schedule and the joint objective."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from bgformer.fit.embedding import learned_units
from bgformer.fit.kmeans import kmeans_centres
from bgformer.fit.minibatches import Minibatches
from bgformer.fit.optimizer import OneCycleAdam
from bgformer.network import losses
from bgformer.network.anchor_weights import anchor_weights
from bgformer.network.network import attention
from bgformer.runtime.devices import Portions

if TYPE_CHECKING:
    from bgformer.data.counts import CountData
    from bgformer.fit.minibatches import Drawn, Minibatch
    from bgformer.fit.schedule import Objective, Schedule
    from bgformer.network.network import Network
    from bgformer.runtime.progress import Progress

_TOKEN_CELLS = 10_000
"""Maximum number of cells used to set the anchor tokens."""
_PROFILE_PRIOR = 5.0
"""Number of average cells added to the profile of each anchor."""


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
        network.log_profile[:, : len(centres)] = torch.as_tensor(np.log(profile + 1e-8).T)


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
        self.minibatches = Minibatches(
            network, data, schedule.batch_size, schedule.genes_per_step, seed
        )
        self.parameters = list(network.parameters())
        self.dec = None if centroids is None else _DEC(network, centroids)
        if self.dec is not None:
            self.parameters.append(self.dec.centroids)
        self.optimizer = OneCycleAdam(self.parameters, schedule.learning_rate, schedule.max_steps)
        self.portions = Portions()
        self.n_steps = 0

    def step(self, drawn: Drawn) -> dict[str, float]:
        """Take one step with a minibatch; return the loss and each unweighted term.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        self.n_steps += 1

        def work(rows: np.ndarray) -> _Part:
            if len(rows) == len(drawn.rows):
                return self._work(drawn.cells)
            return self._work(self.minibatches.load(rows, drawn.halves))

        parts = list(self.portions.each(work, drawn.rows))
        for parameter, *gradients in zip(
            self.parameters, *(part.gradients for part in parts), strict=True
        ):
            parameter.grad = reduce(torch.add, gradients)
        values = reduce(torch.add, [part.values for part in parts]).tolist()
        found = dict(zip(parts[0].names, values, strict=True))
        if not np.isfinite(found["loss"]):
            raise FloatingPointError(
                f"the loss became {found['loss']} at step {self.n_steps}; the counts may hold "
                f"extreme values (the largest is {self.minibatches.data.counts.max():.4g})."
            )
        self.optimizer.step()
        return found

    def _work(self, cells: Minibatch) -> _Part:
        """Return contributions of some cells to the minibatch's mean terms and their gradients."""
        terms = _terms(self.network, cells, self.dec)
        loss = terms["zinb"] + sum(
            getattr(self.objective, name) * term for name, term in terms.items() if name != "zinb"
        )
        share = len(cells.batch) / self.minibatches.size
        gradients = torch.autograd.grad(share * loss, self.parameters)
        values = share * torch.stack([loss, *terms.values()]).detach()
        return _Part(["loss", *terms], values, gradients)


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
    """Train for all steps of the schedule.

    Parameters
    ----------
    network, data, objective, schedule, seed, centroids
        See :class:`Trainer`.
    progress
        Updated after every step.

    Returns
    -------
    "step", "loss" and each unweighted term, arrays with one value per step.
    """
    trainer = Trainer(network, data, objective, schedule, seed, centroids)
    history: list[dict[str, float]] = []
    network.train()
    for step, drawn in enumerate(trainer.minibatches.drawn(schedule.max_steps), start=1):
        history.append({"step": step, **trainer.step(drawn)})
        progress.update(step)
    network.eval()
    return {name: np.array([record[name] for record in history]) for name in history[0]}


class _Part(NamedTuple):
    """Contribution of some cells to the mean terms of a minibatch and their gradients."""

    names: list[str]
    values: torch.Tensor
    gradients: tuple[torch.Tensor, ...]


def _terms(network: Network, cells: Minibatch, dec: _DEC | None) -> dict[str, torch.Tensor]:
    """Return the unweighted terms of the objective for one part of a minibatch."""
    query = network.in_units(network.encode(cells.residuals))
    nearest, weights = attention(query, network.anchors)
    views = (2, len(cells.batch), -1)
    predicted = network.reconstruct(
        nearest.view(views), weights.view(views), cells.size_factors, cells.batch, cells.genes
    )
    zinb = losses.zinb(
        cells.counts, predicted.log_mean, predicted.log_dispersion, predicted.dropout_logit
    )
    terms = {
        # Per gene, so that its weight relative to the other terms does not depend on the number
        # of genes; the genes drawn represent all.
        "zinb": zinb / cells.genes.shape[1],
        "self_supervised": losses.self_supervised(*query.view(views)),
        "commitment": losses.commitment(query, network.anchors[nearest[:, 0]]),
    }
    if dec is not None:
        terms["dec"] = dec.loss(query)
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
            self.frequency = q.detach().sum(0)
        self.steps += 1
        return losses.dec(q, losses.target_distribution(q.detach(), self.frequency))
