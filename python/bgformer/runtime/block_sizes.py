"""How many cells are worked on at once; no result depends on it."""

COUNTS = 2048
"""Cells of a block of counts: the same in memory and on disk, so that no sum and no product of
matrices depends on where they are."""
PLACED = 8 * COUNTS
"""Cells that a thread or process puts among the anchors at a time."""
WEIGHTS = 65_536
"""Cells whose weights on the anchors are looked at together."""
LINKS = 4 * WEIGHTS
"""Cells whose links are one product: more than a model is trained on."""
