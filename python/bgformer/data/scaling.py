"""Constants for scaling counts, used for gene selection and by the network."""

THETA = 100.0
"""Dispersion of the null model for gene selection: technical variation, as its authors measured it
on control RNA (see `data.genes.residual_variance`)."""
LOG_TOTAL = 1e4
"""Total to which the counts of each cell are scaled before the logarithm, as in Seurat."""
MAX_STANDARDISED = 10.0
"""Bound on standardised values, as usual with scanpy and Seurat. Without it, a gene detected in
three cells would outweigh every marker in these cells."""
