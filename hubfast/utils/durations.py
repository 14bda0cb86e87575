"""Lengths of time as people write them."""

import math
import re

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d)?\s*")


def parse_duration(duration: float | str, name: str) -> float:
    """Seconds of a length of time such as `"90s"`, `"10m"`, `"1h30m"`, or a number of seconds.

    Args:
        duration: The length of time.
        name: The argument that it was given for, which errors name.

    Raises:
        ValueError: It is none, not above 0, or longer than a number can say.
    """
    text = str(duration).strip().lower()
    parts = PART.findall(text)
    whole = "".join(match.group() for match in PART.finditer(text)) == text
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts) if whole else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(
            f"{name} must be a length of time such as 90s, 10m or 1h, got {duration!r}"
        )
    return seconds


def in_words(seconds: float) -> str:
    """The same in few words: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"
