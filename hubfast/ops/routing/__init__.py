"""Routing of samples to k of several models: route, dispatch, combine."""
