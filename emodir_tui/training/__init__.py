"""Data, losses, training loops and metrics. It knows epochs, but no stages."""
