"""Ways to tune, and the registry that builds them by name."""
