"""The `bgformer` command: cluster, predict, info."""

from bgformer.cli.run import main

__all__ = ["main"]
