"""Where and how the work runs: devices, processes, progress."""
