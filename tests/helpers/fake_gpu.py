"""A GPU that is not there: CPU tensors stand in for those of CUDA, and clocks for its events."""

import contextlib
import time
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode


class OnCPU(TorchFunctionMode):
    """Makes on the CPU what is asked for on CUDA."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.cuda:
            return args[0]
        if _cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
        if function is torch.Tensor.to:
            args = tuple("cpu" if _cuda(value) else value for value in args)
        return function(*args, **kwargs)


def _cuda(value: object) -> bool:
    return str(value).startswith("cuda") if isinstance(value, str | torch.device) else False


class Event:
    def __init__(self, enable_timing: bool = False):
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return 1e3 * (other.at - self.at)


class Stream:
    device = torch.device("cuda:0")

    def __init__(self, *_: object):
        pass

    def wait_stream(self, other: "Stream") -> None:
        pass


class Graph:
    """Replays nothing: what was captured has run."""

    def replay(self) -> None:
        pass


def install(name: str = "Fake GPU") -> None:
    """Replaces CUDA in this process and in those that it forks."""
    cuda = torch.cuda
    card = SimpleNamespace(name=name, L2_cache_size=1, multi_processor_count=2, total_memory=2**30)
    cuda.is_available = lambda: True
    cuda.get_device_name = lambda *_: name
    cuda.get_device_properties = lambda *_: card
    cuda.is_bf16_supported = lambda *_: True
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.synchronize = cuda.empty_cache = cuda.reset_peak_memory_stats = lambda *_: None
    cuda.memory_allocated = cuda.max_memory_allocated = lambda *_: 2**20
    cuda.Event, cuda.Stream, cuda.CUDAGraph = Event, Stream, Graph
    cuda.current_stream = lambda *_: Stream()
    cuda.stream = cuda.graph = lambda *_, **__: contextlib.nullcontext()
    torch.backends.cudnn.version = lambda: 0
    OnCPU().__enter__()
