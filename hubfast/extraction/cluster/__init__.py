"""Runs models on other processes and machines, by Ray: what they give comes by the cache."""
