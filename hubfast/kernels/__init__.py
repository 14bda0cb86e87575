"""Lets a source checkout find the top-level ``kernels/``, which wheels install right here."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "kernels"))
