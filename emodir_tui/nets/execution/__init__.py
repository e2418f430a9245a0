"""Running pruned spans of a network fast: sliced, masked, stacked."""
