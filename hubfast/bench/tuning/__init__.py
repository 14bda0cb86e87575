"""Tuning methods compared on the mini-hub."""
