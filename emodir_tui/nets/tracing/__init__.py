"""From a model to a graph: symbolic tracing, functional form, shapes, cut points."""
