"""From cells and settings to a fitted model, and what a fitted model can be asked."""
