"""Which processes use a cache: what a running one has touched is not pruned.

Each process holds a lock on a file of its own, which the system gives back when the process ends,
even by kill -9. Where files cannot be locked, a file of the last day counts as held.
"""

import os
import secrets
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

DAY = 86_400.0  # seconds


def announce(user: object, folder: Path) -> None:
    """Makes this process known in `folder` for as long as it runs and has the object `user`.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running_since(folder)  # deletes the files of those that have ended
    path = folder / f"{secrets.token_hex(8)}.lock"
    if fcntl is None:  # Windows renames no open file
        path.touch()
        return
    unseen = path.with_suffix(".new")  # it is not found before it is locked
    file = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    weakref.finalize(user, os.close, file)
    _lock(file)
    os.replace(unseen, path)


def running_since(folder: Path) -> float:
    """When the first of the processes that still run was announced, in seconds since 1970.

    It is infinite where none runs. Files of processes that have ended are deleted.
    """
    return min(_beginnings(folder), default=float("inf"))


def _beginnings(folder: Path) -> Iterator[float]:
    for path in folder.glob("*.lock"):
        try:
            begun = path.stat().st_mtime
            if not _ended(path, begun):
                yield begun
                continue
            path.unlink()
        except OSError:  # another process has deleted it, or may alone do so
            continue


def _ended(path: Path, begun: float) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except PermissionError:  # it is another user's
        return time.time() - begun > DAY
    try:
        held = _lock(file)
    finally:
        os.close(file)
    return time.time() - begun > DAY if held is None else held


def _lock(file: int) -> bool | None:
    """Whether this process now holds the lock; None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True
