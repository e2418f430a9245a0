"""The search: genomes, operators, NSGA-II, fronts and the ranking. It knows vectors and objectives, never a network."""
