"""Training: initialisation, training steps, the metric of the latent space, and DEC."""
