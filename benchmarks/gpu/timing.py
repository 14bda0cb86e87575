"""Times by CUDA events: medians of repeats in turn, inputs that the cache cannot hold, graphs."""

from collections.abc import Callable, Mapping
from math import ceil
from statistics import median
from typing import Any, NamedTuple

import torch
from gpu.jobs import Sizes

Call = Callable[[int], object]  # takes the number of its turn, which chooses its inputs
MOST_SETS = 16
WARM_UPS = 3
SLOW_MS = 300.0  # calls that take longer are warmed up once
MOST_MS = 3000.0  # of all repeats of a call; three are made in any case


class Timing(NamedTuple):
    """Milliseconds of a call: the median of the repeats, the least and the most."""

    ms: float
    low: float
    high: float


class Captured(NamedTuple):
    """Several calls as one CUDA graph: the device's time, without that of the launches."""

    graph: torch.cuda.CUDAGraph
    calls: int

    def __call__(self, turn: int) -> None:
        self.graph.replay()


def timed(calls: Mapping[str, Call], sizes: Sizes) -> tuple[dict[str, Timing], dict[str, str]]:
    """Times of the calls, one repeat of each in turn; and of those that failed, the errors."""
    repeats: dict[str, tuple[int, int]] = {}
    errors: dict[str, str] = {}
    for name, call in calls.items():
        try:
            repeats[name] = _repeats(call, sizes)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"[:300]
            torch.cuda.empty_cache()
    spent: dict[str, list[float]] = {name: [] for name in repeats}
    for number in range(sizes.rounds):
        for name, (rounds, count) in repeats.items():
            if number < rounds:
                inside = count * getattr(calls[name], "calls", 1)
                spent[name].append(_span(calls[name], count) / inside)
    return {name: Timing(median(ms), min(ms), max(ms)) for name, ms in spent.items()}, errors


def milliseconds(call: Call, sizes: Sizes) -> Timing:
    """The time of one call.

    Raises:
        RuntimeError: It failed.
    """
    found, errors = timed({"it": call}, sizes)
    if errors:
        raise RuntimeError(errors["it"])
    return found["it"]


def _repeats(call: Call, sizes: Sizes) -> tuple[int, int]:
    """Warms up; how many repeats are made, and of how many calls each."""
    for turn in range(WARM_UPS):
        if _span(call, 1, turn) > SLOW_MS:
            break
    took = max(_span(call, 1), 1e-3)
    count = max(1, min(1000, ceil(sizes.round_ms / took)))
    return max(3, min(sizes.rounds, int(MOST_MS / (took * count)))), count


def _span(call: Call, count: int, first: int = 0) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for turn in range(first, first + count):
        call(turn)
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def captured(call: Call, sets: int = 1) -> Captured:
    """One call on each set of inputs as a CUDA graph.

    Raises:
        RuntimeError: The call waits for the device, or does what a graph cannot hold.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for turn in range(max(WARM_UPS, sets)):
            call(turn)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for turn in range(sets):
            call(turn)
    return Captured(graph, sets)


def rotating(make: Callable[[], Any]) -> list[Any]:
    """Sets of inputs, so many that together they do not fit the L2 cache three times.

    Args:
        make: Gives a set, a tuple that holds tensors.
    """
    first = make()
    held = sum(x.nbytes for x in first if isinstance(x, torch.Tensor))
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    count = min(MOST_SETS, max(1, ceil(3 * cache / max(held, 1))))
    return [first, *(make() for _ in range(count - 1))]


def faster(times: Mapping[str, Timing], usual: str) -> str:
    """The fastest of the candidates, if it beats the usual one by more than the repeats differ.

    Returns:
        Its name; `usual` if none does.
    """
    best = min(times, key=lambda name: times[name].ms)
    if usual not in times:
        return best
    return best if times[best].high < times[usual].low else usual


def in_ms(times: Mapping[str, Timing]) -> dict[str, list[float]]:
    """What goes into a row: median, least and most of each."""
    return {name: [round(value, 5) for value in found] for name, found in times.items()}
