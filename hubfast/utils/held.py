"""Output that one run at a time writes: another run is refused, and told which process is at it.

The holder locks a hidden file, which the system unlocks when the process ends, even by kill -9: a
file that such a process left holds nothing. Where files cannot be locked, as on Windows, no run is
noticed.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

MOST = 400  # bytes of a holder's name that are read
TAKEN = (BlockingIOError, PermissionError)  # POSIX lets a lock that is held be either


class InUse(OSError):
    """Another process that still runs writes this output."""


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Holds a folder that this process writes to, made where it is not there.

    What was made goes again where nothing was written to it.

    Raises:
        InUse: Another process holds it.
        OSError: The folder cannot be made or written to.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(folder.resolve() / ".running", folder):
            yield
    finally:
        for each in made:
            try:
                each.rmdir()
            except OSError:  # it holds something, or another run has removed it
                break


@contextmanager
def file_held(path: Path) -> Iterator[None]:
    """Holds a file that this process will write; its folder must exist.

    What is no plain file, such as a terminal or a pipe, may be several processes' at once.

    Raises:
        InUse: Another process holds it.
        OSError: Its folder cannot be written to.
    """
    if path.exists() and not path.is_file():
        yield
        return
    whole = path.resolve()
    with _held(whole.with_name(f".{whole.name}.running"), path):
        yield


@contextmanager
def _held(lock: Path, output: Path) -> Iterator[None]:
    file = _locked(lock, output)
    if file is None:
        yield
        return
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: the next holder makes a file of its own
        os.close(file)


def _locked(lock: Path, output: Path) -> int | None:
    """The open file of the lock; None where files cannot be locked."""
    if fcntl is None:
        return None
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            # It is this process's alone: those that it forks do not hold it once it was killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, lock):
                return file
        except TAKEN:
            holder = os.pread(file, MOST, 0).decode(errors="replace") or "another process"
            os.close(file)
            raise InUse(
                f"{output} is being written by a run that has not ended, {holder}; let it end or "
                "name another output"
            ) from None
        except OSError:  # a file system without locks
            lock.unlink(missing_ok=True)
            os.close(file)
            return None
        os.close(file)  # the former holder has removed it meanwhile


def _is(file: int, path: Path) -> bool:
    """Whether the open file is the one that lies there now."""
    try:
        there, own = os.stat(path), os.fstat(file)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)
