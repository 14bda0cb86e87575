"""Sizes in bytes: as people write them, and how much memory there is."""

import os
import re
from pathlib import Path

POWERS = " KMGT"
SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
CGROUP = Path("/sys/fs/cgroup/memory.max")


def parse_size(size: int | str, name: str, least: int = 1) -> int:
    """Bytes of a size such as `"500M"`, `"2GB"`, `"1.5 GiB"` or a plain number.

    Args:
        size: The size; units are powers of 1,000, those with an i powers of 1,024.
        name: The argument that it was given for, which errors name.
        least: How many bytes it must be.

    Raises:
        ValueError: It is no size, or less than the least.
    """
    found = SIZE.fullmatch(str(size).strip())
    count = -1
    if found:
        number, unit, binary = found.groups()
        count = int(float(number) * (1024 if binary else 1000) ** POWERS.index(unit.upper() or " "))
    if count < least:
        example = "10G, 500M or 0" if least == 0 else "500M or 2G"
        raise ValueError(f"{name} must be a size such as {example}, got {size!r}")
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
