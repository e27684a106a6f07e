"""Fit a model to cells with given settings, and use a fitted model."""
