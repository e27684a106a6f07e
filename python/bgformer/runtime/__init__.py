"""How the computation runs: devices, processes, progress, block sizes."""
