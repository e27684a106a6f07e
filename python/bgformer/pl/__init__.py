"""Plots of the results that `bgformer.tl` stored."""

from bgformer.pl.curves import resolution, training
from bgformer.pl.embedding import embedding
from bgformer.pl.evidence import evidence
from bgformer.pl.markers import markers

__all__ = ["embedding", "markers", "evidence", "resolution", "training"]
