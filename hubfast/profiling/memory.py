"""The most memory that a piece of work takes."""

from collections.abc import Callable
from pathlib import Path

import torch

from hubfast.utils.allocator import give_back_memory

MIB = 2**20


class PeakMemory:
    """Context manager; afterwards `bytes` is the most memory that what ran inside took.

    On a GPU that is what torch allocated; on Linux how much the process grew above its size at the
    start; elsewhere None.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.bytes: int | None = None
        self._before: int | None = None

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._before = _status("VmRSS")
            _reset_peak()
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device)
        elif self._before is not None and (peak := _status("VmHWM")) is not None:
            self.bytes = max(0, peak - self._before)


def peak_memory(call: Callable[[], object]) -> float | None:
    """Runs `call` and returns by how many MiB resident memory rose at most; None if not Linux.

    What is free is given back to the system first, so that `call` cannot use it again unseen.
    """
    give_back_memory()
    with PeakMemory(torch.device("cpu")) as memory:
        call()
    return None if memory.bytes is None else memory.bytes / MIB


def _status(name: str) -> int | None:
    """A line of Linux's account of this process, in bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def _reset_peak() -> None:
    """Sets VmHWM to what the process holds now, see proc(5)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")
