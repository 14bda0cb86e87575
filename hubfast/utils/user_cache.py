"""Where hubfast keeps what it can make again."""

import os
from pathlib import Path

from platformdirs import user_cache_dir


def user_cache(part: str) -> Path:
    """The folder `part` of `HUBFAST_CACHE`, or of hubfast's folder in the user's cache."""
    return Path(os.environ.get("HUBFAST_CACHE") or user_cache_dir("hubfast")) / part
