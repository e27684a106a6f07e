"""Cells in: counts, their checks, genes, readers, and the cells that training sees."""
