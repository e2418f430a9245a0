"""What a search searches: a sub-network or the whole network, its objectives and its guidance. Knows no run and no step."""
