"""Adam with a learning rate that rises and falls once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.optim.adam import adam

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_NORM = 5.0
"""Maximum norm of the gradients; larger ones are scaled down to it."""


class OneCycleAdam:
    """Adam whose learning rate rises and falls once, and its first decay rate the other way round.

    Equal to ``torch.optim.Adam`` with ``torch.optim.lr_scheduler.OneCycleLR`` (Smith & Topin 2018,
    arXiv:1708.07120). These import torch's compiler, which takes longer than training.

    Parameters
    ----------
    parameters
        What is trained, in place, by its ``grad``.
    learning_rate
        The highest learning rate.
    n_steps
        Number of steps.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], learning_rate: float, n_steps: int
    ) -> None:
        self.parameters: list[torch.Tensor] = list(parameters)
        self.learning_rate, self.n_steps = learning_rate, n_steps
        self.n_done = 0
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients."""
        torch.nn.utils.clip_grad_norm_(self.parameters, _MAX_NORM)
        rate, decay = self._rates()
        adam(
            self.parameters,
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=decay,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        self.n_done += 1

    def _rates(self) -> tuple[float, float]:
        """Return the learning rate and the first decay rate of the next step."""
        # no warm-up would divide by 0
        share_rising = max(0.1, min(0.9, 1.5 / self.n_steps))
        top, last = share_rising * self.n_steps - 1, self.n_steps - 1
        first_rate, last_rate = self.learning_rate / 25, self.learning_rate / 25e4
        if self.n_done <= top:
            done = self.n_done / top
            return _between(first_rate, self.learning_rate, done), _between(0.95, 0.85, done)
        done = (self.n_done - top) / (last - top)
        return _between(self.learning_rate, last_rate, done), _between(0.85, 0.95, done)


def _between(start: float, end: float, done: float) -> float:
    """Return the value on half a cosine from `start` to `end`, of which a share is done."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))
