"""Keras models (`keras:FILE`)."""
