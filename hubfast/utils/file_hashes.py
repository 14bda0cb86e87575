"""Hashes of files, remembered from run to run: reading gigabytes again would tell nothing new."""

import hashlib
import os
import struct
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

from hubfast.utils.files import replacing

FORMAT = b"hubfast.FileHashes/1\n"
RECORD = struct.Struct("16s32s")  # what tells a file's state apart, and the sha256 of its content
MOST = 1 << 19  # records that are kept, 24 MiB; the oldest are forgotten
FRESH = 2_000_000_000  # nanoseconds in which a change of a file may leave its times as they are


class FileHashes:
    """The sha256 of files, computed once for each state of a file.

    A state is the path, size, times of change of content (mtime) and of status (ctime), and
    number (inode). A file that has just changed is not remembered: it may change again within the
    resolution of its times. Threads may share it.

    Args:
        path: Where hashes are kept from run to run; None to forget them. A file that is damaged is
            ignored, and so is a failure to write it: hashes are then computed again.
    """

    def __init__(self, path: Path | None = None):
        self._path = path
        self._known: dict[bytes, bytes] | None = None
        self._new: dict[bytes, bytes] = {}
        self._saved = time.monotonic()
        self._lock = threading.Lock()
        if path is not None:  # what is new is kept at the end, too, be it of the process
            weakref.finalize(self, _keep, path, self._new)

    def of(self, path: str | Path) -> bytes:
        """The sha256 of a file's content, 32 bytes.

        Raises:
            OSError: It cannot be read.
        """
        before = os.stat(path)
        settled = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > FRESH
        state = _state(path, before)
        if (found := self._of_state(state)) is not None:
            return found
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
            after = _state(path, os.fstat(file.fileno()))
        if settled and after == state:
            with self._lock:
                self._new[state] = found
        return found

    def save(self, every: float = 0.0) -> None:
        """Keeps the new hashes, unless they were kept less than `every` seconds ago.

        They are kept at the end of the process, too, unless it is killed.

        Of two processes that write at the same time, one's new hashes may be lost.
        """
        if self._path is None or not self._new or time.monotonic() - self._saved < every:
            return
        with self._lock:
            self._known, self._saved = _keep(self._path, self._new), time.monotonic()
            self._new.clear()

    def _of_state(self, state: bytes) -> bytes | None:
        with self._lock:
            if self._known is None:
                self._known = {} if self._path is None else _read(self._path)
            return self._new.get(state) or self._known.get(state)


def _state(path: str | Path, stat: os.stat_result) -> bytes:
    numbers = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return hashlib.sha256(repr((os.path.abspath(path), *numbers)).encode()).digest()[:16]


def _keep(path: Path, new: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Adds hashes to those that a file holds, which are returned with them."""
    known = {**_read(path), **new}
    if new:
        body = b"".join(RECORD.pack(*each) for each in [*known.items()][-MOST:])
        with suppress(OSError):  # a full disk, or a folder that may only be read
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(FORMAT + hashlib.sha256(body).digest() + body)
    return known


def _read(path: Path) -> dict[bytes, bytes]:
    """What a file of hashes holds; nothing where there is none, or it is damaged."""
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return {}
    start = len(FORMAT)
    seal, body = content[start : start + 32], content[start + 32 :]
    if (
        content[:start] != FORMAT
        or len(body) % RECORD.size
        or hashlib.sha256(body).digest() != seal
    ):
        return {}
    return dict(RECORD.iter_unpack(body))
