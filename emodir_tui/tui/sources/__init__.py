"""Where the dashboard reads: live runs, replays, summaries of runs, GPUs."""
