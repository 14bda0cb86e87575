"""How long work on a device takes, without a wait for it."""

import time

import pytest
import torch

from hubfast.utils.stopwatch import Stopwatch


def test_what_is_done_within_adds_up(monkeypatch):
    now = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    watch = Stopwatch("cpu")
    assert watch.seconds == 0
    for _ in range(2):
        with watch:
            pass
    assert watch.seconds == 2.5
    assert watch.seconds == 2.5


class Event:
    """A CUDA event on a clock of whole milliseconds."""

    clock, waits = 0, 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self, stream):
        assert stream == "stream of cuda:1"
        Event.clock += 5
        self.at = Event.clock

    def synchronize(self):
        Event.waits += 1

    def elapsed_time(self, end):
        return end.at - self.at


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(Event, "waits", 0)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    return Stopwatch("cuda:1")


def test_a_gpu_is_not_waited_for_before_the_seconds_are_asked_for(gpu):
    for _ in range(3):
        with gpu:
            pass
    assert Event.waits == 0
    assert gpu.seconds == pytest.approx(0.015)
    assert Event.waits == 3
    assert gpu.seconds == pytest.approx(0.015)
    assert Event.waits == 3


def test_a_failure_on_a_gpu_is_not_timed(gpu):
    with pytest.raises(RuntimeError, match="of the model"), gpu:
        raise RuntimeError("of the model")
    assert gpu.seconds == 0
