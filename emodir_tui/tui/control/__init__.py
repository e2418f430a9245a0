"""Commands with their keys, panels by number, and requests to the worker."""
