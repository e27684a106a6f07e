"""Plots of the results that :mod:`bgformer.tl` stores."""

from bgformer.pl.anchors import anchors
from bgformer.pl.curves import resolution, training
from bgformer.pl.embedding import embedding
from bgformer.pl.evidence import evidence
from bgformer.pl.markers import markers
from bgformer.pl.tree import tree

__all__ = ["embedding", "anchors", "markers", "evidence", "resolution", "tree", "training"]


def __dir__() -> list[str]:
    """Name the plots alone, and not the modules that they are in."""
    return __all__
