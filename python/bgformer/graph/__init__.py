"""Weights of cells on anchors, the anchor graph, and its clusters."""
