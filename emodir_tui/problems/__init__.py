"""The search problems: a sub-network or the whole network, with genome, objectives and effects of genes. Independent of runs."""
