"""Lines of text from values: canvas, charts, colours, cells."""
