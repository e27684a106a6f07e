"""Plots of the results that `bgformer.tl` stored."""
