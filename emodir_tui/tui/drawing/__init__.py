"""Values drawn as text: canvas, charts, colours, cells."""
