"""The dashboard. Sees RunState only."""
