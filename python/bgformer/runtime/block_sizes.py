"""Numbers of cells that are processed at once; results do not depend on them."""

COUNTS = 2048
"""Cells in a block of counts. It is the same in memory and on disk, so that sums and products of
matrices do not depend on where the counts are."""
PLACED = 8 * COUNTS
"""Cells whose latent and weights a thread or process computes at a time."""
WEIGHTS = 65_536
"""Cells whose anchor weights are processed at a time."""
LINKS = 4 * WEIGHTS
"""Cells whose links are computed in one product; more than a model is trained on."""
