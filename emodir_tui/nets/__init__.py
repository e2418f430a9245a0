"""Networks: models, channel groups, sub-networks, removal, complexity. It knows nothing of the search."""
