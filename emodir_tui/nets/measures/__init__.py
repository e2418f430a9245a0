"""What is measured of a network: complexity, latency, importance, the gradient of the error."""
