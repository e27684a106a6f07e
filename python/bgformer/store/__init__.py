"""Results and models, in AnnData and in files."""
