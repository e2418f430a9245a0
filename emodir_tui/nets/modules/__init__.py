"""Modules that emodir inserts into networks, sizes stored by layers, precision, device transfers."""
