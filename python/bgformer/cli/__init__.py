"""The `bgformer` command: cluster, predict, recluster, markers, info."""

from bgformer.cli.run import main

__all__ = ["main"]
