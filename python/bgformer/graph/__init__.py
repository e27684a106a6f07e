"""Cells among the anchors, the graph of the anchors, and the clusters that it has."""
