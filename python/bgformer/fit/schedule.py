"""Defaults of the training: weights of the loss terms, number and size of the steps.

Imports neither torch nor NumPy, so that the help of the command line can show them at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgformer.arguments import weight


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

    max_steps: int = 50
    batch_size: int = 256
    learning_rate: float = 3e-4
    genes_per_step: int = 256
    """Number of genes, drawn again at each step, on which the ZINB term is estimated."""
