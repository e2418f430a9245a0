"""Keys and what may be asked of a run."""
