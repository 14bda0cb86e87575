"""Where hubfast keeps what it can make again."""

import os
from pathlib import Path


def user_cache(part: str) -> Path:
    """The folder `part` of `HUBFAST_CACHE`, or of hubfast's folder in the user's cache."""
    if folder := os.environ.get("HUBFAST_CACHE"):
        return Path(folder) / part
    from platformdirs import user_cache_dir  # not needed where the folder is given

    return Path(user_cache_dir("hubfast")) / part
