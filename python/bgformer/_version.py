"""The version, which DESCRIPTION repeats for R."""

__version__ = "0.1.0"
