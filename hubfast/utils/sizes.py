"""Sizes in bytes: as people write them, and how much memory there is."""

import os
import re
from pathlib import Path

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
CGROUP = Path("/sys/fs/cgroup/memory.max")


def parse_size(size: int | str, name: str) -> int:
    """Bytes of a size such as `"500M"`, `"2G"`, `"1.5 GiB"` or a plain number.

    Args:
        size: The size; units are powers of 1,024.
        name: The argument that it was given for, which errors name.

    Raises:
        ValueError: It is no size, or less than one byte.
    """
    found = SIZE.fullmatch(str(size).strip())
    count = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if count < 1:
        raise ValueError(f"{name} must be a size such as 500M or 2G, got {size!r}")
    return count


def machine_memory() -> int:
    """Bytes of memory that this process may use at most: the machine's, or its container's."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        whole = 8 * 2**30
    try:
        limit = int(CGROUP.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return whole
    return min(whole, limit)
