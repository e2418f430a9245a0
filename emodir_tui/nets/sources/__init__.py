"""Where models and weights come from."""
