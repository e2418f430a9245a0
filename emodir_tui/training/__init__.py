"""Data, losses, training loops and metrics. Knows epochs, never a stage."""
