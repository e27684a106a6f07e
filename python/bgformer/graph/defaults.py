"""Defaults of the clustering.

Imports nothing, so that the help of the command line can show them at once.
"""

DEFAULT_RESOLUTION = 0.8
MIN_CELLS = 10
"""Minimum number of cells in a cluster, unless the number of clusters needs smaller ones."""
