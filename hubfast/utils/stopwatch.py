"""How long work on a device takes."""

import time
from types import TracebackType
from typing import Any

import torch


class Stopwatch:
    """Times what is done within it, as often as it is entered.

    Work on a GPU is timed there: nobody waits for it before `seconds` is asked for, so that a next
    batch can be prepared meanwhile.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: str | torch.device):
        device = torch.device(device)
        self._gpu = device if device.type == "cuda" else None
        self._begun: Any = None
        self._seconds = 0.0
        self._laps: list[tuple[Any, Any]] = []  # events at both ends of work on a GPU

    def __enter__(self) -> "Stopwatch":
        self._begun = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gpu is None:
            self._seconds += self._now() - self._begun
        elif error is None:  # a failure may have left a GPU that records nothing
            self._laps.append((self._begun, self._now()))

    @property
    def seconds(self) -> float:
        """Seconds so far; waits for a GPU to end what was timed."""
        for begin, end in self._laps:
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000
        self._laps = []
        return self._seconds

    def _now(self) -> Any:
        if self._gpu is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._gpu))
        return event
