"""Layers and tensors: the modules that emodir puts into a network, sizes of layers, precision, transfers."""
