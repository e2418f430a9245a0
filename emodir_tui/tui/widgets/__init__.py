"""One widget a file; a widget draws a slice of RunState and holds no run data."""
