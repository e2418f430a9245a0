"""Networks: models, channel groups, sub-networks, removal, complexity. Never a search."""
