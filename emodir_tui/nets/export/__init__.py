"""Files and export formats of pruned networks."""
