"""From a model to a graph: tracing, functional form, shapes, cut points."""
