"""Pure functions from a run's state to words and rows."""
