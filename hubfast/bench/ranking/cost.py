"""Seconds and peak memory of each score, features given."""

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hubfast.scores.registry import Metric
from hubfast.scores.streamed import Rows, StreamedScores

MIB = 1024


@dataclass(frozen=True)
class Cost:
    """Of one score of one model."""

    metric: str
    seconds: float
    peak_mib: float | None  # above what was held before; None where the system does not tell


def score_costs(
    metrics: Sequence[Metric],
    samples: int = 2048,
    width: int = 1024,
    classes: int = 50,
    *,
    announce: Callable[[str], object] = lambda metric: None,
) -> list[Cost]:
    """Scores simulated features, float32 in batches of 256, by each metric alone.

    The source classifier has 1000 classes.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    targets = torch.arange(samples, device="cpu") % classes

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")

    features = (0.3 * normal(classes, width)[targets] + normal(samples, width)).relu()
    logits = normal(samples, 1000)
    everything = torch.arange(samples, device="cpu")
    found = []
    for metric in metrics:
        announce(metric)

        seconds: list[float] = []

        def run(metric: Metric = metric, seconds: list[float] = seconds) -> None:
            started = time.perf_counter()
            scorer = StreamedScores(
                [metric], targets, "classification", Rows(everything, everything[:512])
            )
            for index in everything.split(256):
                scorer.update(index, features[index], logits[index])
            scorer.score(metric, parameters=1, imagenet=1.0)
            seconds.append(time.perf_counter() - started)

        peak = peak_memory(run)
        found.append(Cost(metric, seconds[0], peak))
    return found


def peak_memory(call: Callable[[], None]) -> float | None:
    """Runs `call` and returns by how many MiB resident memory rose at most; None if not Linux."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that freed memory is not used again unseen
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        call()
        return None
    clear.write_text("5")  # resets the peak, man 5 proc
    before = _status("VmRSS")
    call()
    return max(0.0, _status("VmHWM") - before) / MIB


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))
