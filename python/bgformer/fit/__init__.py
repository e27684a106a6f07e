"""Training: where it starts, its steps, the metric of the latent, and DEC."""
