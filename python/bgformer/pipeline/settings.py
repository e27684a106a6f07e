"""The settings of a fit, and their checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bgformer.arguments import not_both, positive, whole, whole_or_auto, wrong
from bgformer.fit.schedule import Objective, Schedule
from bgformer.graph.defaults import MIN_CELLS
from bgformer.messages import InputError
from bgformer.network.heads import LEAST_LATENT, N_HEADS

_MOST_LATENT = 1000
"""More dimensions than cells have, and as many as fit into any memory."""
_MOST_STEPS = 1_000_000
"""A day or more of training."""


@dataclass(frozen=True)
class Settings:
    """Settings that determine the result of a fit; :class:`bgformer.BGFormer` describes each.

    Raises
    ------
    ValueError
        If a value is invalid, or two contradict each other.
    """

    n_clusters: int | str = "auto"
    resolution: float | None = None
    n_anchors: int | str = "auto"
    n_top_genes: int = 2000
    n_latent: int = 32
    max_steps: int = Schedule.max_steps
    min_cells: int = MIN_CELLS
    device: str = "auto"
    seed: int = 0
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self) -> None:
        """Check each value, and convert numpy numbers to Python numbers."""
        checked: dict[str, Any] = {
            "n_clusters": whole_or_auto("n_clusters", self.n_clusters),
            "n_anchors": whole_or_auto("n_anchors", self.n_anchors, least=N_HEADS),
            "n_top_genes": whole("n_top_genes", self.n_top_genes),
            "n_latent": whole("n_latent", self.n_latent, LEAST_LATENT, _MOST_LATENT),
            "max_steps": whole("max_steps", self.max_steps, most=_MOST_STEPS),
            "min_cells": whole("min_cells", self.min_cells),
            "seed": whole("seed", self.seed, least=0, most=2**32 - 1),
        }
        if self.resolution is not None:
            checked["resolution"] = positive("resolution", self.resolution)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.objective, Objective):
            raise wrong("objective", self.objective, "a bgformer.fit.schedule.Objective")
        not_both(self.resolution, self.n_clusters)
        clusters, anchors = self.n_clusters, self.n_anchors
        if isinstance(clusters, int) and isinstance(anchors, int) and clusters > anchors:
            raise InputError(
                "more-clusters-than-anchors",
                "{name[n_clusters]} is {clusters}, but {name[n_anchors]} is only {anchors}: each "
                "cluster needs an anchor, so use fewer clusters or more anchors.",
                clusters=clusters,
                anchors=anchors,
            )

    @classmethod
    def of(cls, described: dict[str, Any]) -> Settings:
        """Return the settings from the dictionary that `described` returned."""
        return cls(**described | {"objective": Objective(**described["objective"])})

    def described(self) -> dict[str, Any]:
        """Return the settings as a dictionary of plain values."""
        return asdict(self)

    @property
    def wanted_clusters(self) -> int | None:
        """The requested number of clusters; None for "auto"."""
        return self.n_clusters if isinstance(self.n_clusters, int) else None
