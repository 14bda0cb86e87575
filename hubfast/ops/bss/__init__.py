"""Batch spectral shrinkage: the smallest squared singular values of a batch of features."""
