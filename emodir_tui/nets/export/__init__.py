"""Where pruned networks go to: files and formats."""
