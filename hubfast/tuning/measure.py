"""What a method costs to train and to use, measured."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hubfast.nn.hooks import eval_mode
from hubfast.profiling import counts

WARM_UP = 2
LEAST_SECONDS = 0.5  # of measuring


@dataclass(frozen=True)
class Cost:
    """Of one method; None where it cannot be known."""

    train_parameters: int  # held while training, in all stages; cached teachers are not
    parameters: int  # of the model that is used in the end
    multiply_adds: int  # of one picture through that model
    iterations_per_second: float  # of training
    samples_per_second: float  # of inference, in batches
    peak_memory: int | None  # bytes: of the GPU, else that training added to the process


def inference_speed(method: nn.Module, images: Tensor) -> float:
    """Samples a second of `method` in eval mode on batches like `images` `(B, 3, H, W)`."""
    with eval_mode(method), torch.inference_mode():
        for _ in range(WARM_UP):
            method(images)
        _wait(images)
        started, runs = time.perf_counter(), 0
        while time.perf_counter() - started < LEAST_SECONDS:
            method(images)
            _wait(images)
            runs += 1
        seconds = time.perf_counter() - started
    return runs * len(images) / seconds


def inference_cost(method: nn.Module, image: Tensor) -> int:
    """Multiply-adds of one picture `(1, 3, H, W)` in eval mode; see `hubfast.profiling.counts`."""
    with eval_mode(method):
        return counts.multiply_adds(method, image)


def speed(per_second: float, thing: str) -> str:
    """A rate in words: "2.5 steps/s", or below one per second "8.1 s per step".

    Args:
        per_second: How many in a second.
        thing: What is counted, in the singular.
    """
    if 0 < per_second < 1:
        return f"{1 / per_second:.{1 if per_second > 0.01 else 0}f} s per {thing}"
    return f"{per_second:.{1 if per_second < 100 else 0}f} {thing}s/s"


class PeakMemory:
    """Context manager; afterwards `bytes` is the most memory that what ran inside took.

    On a GPU what torch allocated; on Linux how much the process grew above its size at the
    start; elsewhere None.
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


def _status(name: str) -> int | None:
    """A line of Linux's account of this process, in bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def _reset_peak() -> None:
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")  # resets VmHWM to what the process holds


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
