"""The search: genomes, operators, NSGA-II, fronts and the ranking. Knows bits and objectives, never a network."""
