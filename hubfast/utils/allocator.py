"""What this process does with memory that it frees."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)
USUAL = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}  # glibc's own
_KEPT: ContextVar[bool] = ContextVar("kept", default=False)


def keep_freed_memory() -> bool:
    """Has this process keep freed memory for its own next use, for as long as it runs.

    glibc gives large blocks back to the system at once and must ask for them, page by page, at the
    next step of training: up to a fifth of its time on a CPU, most where the activations of several
    models are held together. Returns whether the C library is one that can be told.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    _KEPT.set(True)
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keeps freed memory while it is open, as `keep_freed_memory` does for good.

    After it, what is free goes back to the system, and glibc does as it did when it began.
    """
    if _KEPT.get() or not keep_freed_memory():
        yield
        return
    try:
        yield
    finally:
        _KEPT.set(False)
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in USUAL.items():
            mallopt(option, value)
        give_back_memory(garbage=False)


def give_back_memory(*, garbage: bool = True) -> None:
    """Gives what is free back to the system: behind one model and before the next.

    Each then starts from the same, also where freed memory is kept. With a C library other than
    glibc only garbage is collected.

    Args:
        garbage: Look for objects that hold each other first, as modules with hooks may: 0.2 s
            with torch and timm imported.
    """
    if garbage:
        gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
