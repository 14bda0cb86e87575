"""Where results are written: as wide as the terminal, or as the content where there is none."""

import os
import sys

from rich.console import Console

UNLIMITED = 10_000  # columns of a file or a pipe


def output_console() -> Console:
    """Standard output. `COLUMNS` in the environment bounds the width everywhere."""
    bounded = "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty())
    return Console(width=None if bounded else UNLIMITED)
