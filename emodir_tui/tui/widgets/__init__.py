"""Widgets, one per module; each draws a part of RunState and holds no run data."""
