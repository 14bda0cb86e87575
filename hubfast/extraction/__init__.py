"""Features of samples: how they are computed, and how what was computed is kept."""
