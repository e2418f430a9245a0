"""Fast execution of pruned spans of a network: sliced, masked, stacked."""
