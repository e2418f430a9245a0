"""Data sources of the dashboard: live runs, replays, summaries of runs, GPUs."""
