"""Freed memory that the process keeps."""

import ctypes
import gc
import subprocess
import sys
import weakref
from typing import ClassVar

import pytest
import torch

from hubfast import rank
from hubfast.hub import Network, Source
from hubfast.utils import allocator

FAULTS = """
import resource, torch
from hubfast.utils.allocator import keep_freed_memory
assert not {keep} or keep_freed_memory()
def step():
    return [torch.ones(12_000_000) for _ in range(4)]
for _ in range(6):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_the_next_step_finds_the_pages_of_the_last():
    def faults(keep):
        code = FAULTS.format(keep=keep)
        return int(subprocess.check_output([sys.executable, "-c", code], text=True))

    assert faults(keep=True) < faults(keep=False) / 10


def test_other_c_libraries_are_left_alone(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert allocator.keep_freed_memory() is False


GIVEN_BACK = """
import torch
from hubfast.utils.allocator import give_back_memory, keep_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
assert keep_freed_memory()
before = resident()
class Model:  # that holds itself, as modules with hooks do
    def __init__(self):
        self.weights, self.own = [torch.ones(1_000_000) for _ in range(60)], self
Model()
held = resident() - before
give_back_memory()
print(held, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_what_a_model_held_is_given_back_before_the_next():
    found = subprocess.check_output([sys.executable, "-c", GIVEN_BACK], text=True)
    held, left = map(float, found.split())
    assert held > 200
    assert left < 30


class Cyclic(torch.nn.Module):
    """A loaded model that only the garbage collector ends."""

    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    def __init__(self, cyclic):
        super().__init__()
        self.own = [self] if cyclic else None
        Cyclic.alive.add(self)

    def forward(self, rows):
        return torch.eye(30)[rows[:, 0].long(), :5]


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_model_is_gone_before_the_next_is_loaded(cyclic):
    seen = []

    def load():
        seen.append(len(Cyclic.alive))
        return Network(Cyclic(cyclic))

    gc.disable()
    try:
        hub = [Source(f"m{i}", load, spec=f"timm:m{i}") for i in range(3)]
        data = (torch.arange(30)[:, None].float(), torch.arange(30) % 3)
        assert not rank(hub, data, progress=False).failed
    finally:
        gc.enable()
    assert seen == [0, 0, 0]


def test_giving_back_does_nothing_to_other_c_libraries(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert allocator.give_back_memory() is None
