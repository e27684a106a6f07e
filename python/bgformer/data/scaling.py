"""Constants of how counts are scaled, for the choice of genes and for the network."""

THETA = 100.0
"""Dispersion of the null model of gene selection: what counts vary by without biology, as measured
by its authors on control RNA."""
LOG_TOTAL = 1e4
"""Counts that every cell is scaled to before the logarithm, as scanpy and Seurat do."""
MAX_STANDARDISED = 10.0
"""Bound on a standardised value, as in scanpy and Seurat: a gene seen in three cells would
otherwise outweigh every marker in those three."""
