"""The `bgformer` command: cluster, predict, recluster, info."""

from bgformer.cli.run import main

__all__ = ["main"]
