"""Convolutions whose weights are mixed from several models for each sample."""
