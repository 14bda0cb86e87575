"""The machine, and what its card can do at most."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable

import torch
from gpu.checkout import fingerprint
from gpu.jobs import Say, Sizes
from gpu.timing import Timing, captured, milliseconds, rotating
from recording import machine as recorded

PACKAGES = ("triton", "numpy", "timm", "torchvision", "scipy")


def machine(say: Say, sizes: Sizes) -> None:
    """What all rows are measured on.

    Raises:
        RuntimeError: There is no GPU.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("no GPU here")
    card = torch.cuda.get_device_properties(0)
    found = recorded() | {"cuda": torch.version.cuda, "kernel": platform.release()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    found |= {
        "capability": list(torch.cuda.get_device_capability()),
        "multiprocessors": card.multi_processor_count,
        "memory_mib": card.total_memory // 2**20,
        "l2_mib": card.L2_cache_size // 2**20,
        "cudnn": torch.backends.cudnn.version(),
        "cores": os.cpu_count(),
        "code": fingerprint(),
    }
    say(what="machine", found=found)


def ceilings(say: Say, sizes: Sizes) -> None:
    """Bandwidth of a copy and rates of matrix products on random data."""
    copy = copy_time(2 * sizes.copied, sizes)
    rate = 2 * sizes.copied / copy.ms / 1e9
    say(what="copy", bytes=sizes.copied, ms=copy, figures={"probe.copy_tb_per_s": rate})
    for dtype, side in ((torch.bfloat16, sizes.matrix), (torch.float32, sizes.matrix // 2)):
        a, b = torch.randn(2, side, side, dtype=dtype, device="cuda")
        product = milliseconds(lambda _, a=a, b=b: a @ b, sizes)
        name, rate = str(dtype).removeprefix("torch."), 2 * side**3 / product.ms / 1e9
        figures = {"probe.gemm_tflops": rate} if dtype == torch.bfloat16 else {}
        row = {"dtype": name, "side": side, "ms": product, "tflops": rate}
        say(what="matrix product", figures=figures, **row)


def host(say: Say, sizes: Sizes) -> None:
    """Microseconds of the host per launch, per registered op, and per replayed graph."""
    from hubfast import ops

    x = torch.randn(1024, device="cuda")
    logits = torch.randn(sizes.batch, sizes.models, device="cuda")
    rows = torch.randn(sizes.batch * sizes.active, 64, device="cuda")
    routes = ops.route(logits, sizes.active)
    calls = {
        "add": lambda: x.add_(1.0),
        "empty": lambda: torch.empty_like(x),
        "route": lambda: ops.route(logits, sizes.active),
        "combine": lambda: ops.combine(rows, routes.gates, routes.position),
    }
    spent = {name: host_us(call, sizes.handed) for name, call in calls.items()}
    graph = captured(lambda _: x.add_(1.0), 20)
    replay = milliseconds(graph, sizes)
    say(
        what="host cost per call",
        us=spent,
        graph_node_us=1e3 * replay.ms,
        figures={f"probe.{name}_host_us": spent[name] for name in ("add", "route", "combine")},
    )


def host_us(call: Callable[[], object], count: int) -> float:
    """Microseconds that the host needs to hand over a call; the device lags behind or waits."""
    for _ in range(10):
        call()
    best = float("inf")
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, time.perf_counter() - began)
    torch.cuda.synchronize()
    return 1e6 * best / count


def copy_time(moved: int, sizes: Sizes) -> Timing:
    """The time of a copy that moves so many bytes, read and written together."""
    sets = rotating(lambda: _buffers(moved))
    return milliseconds(lambda turn: _copy(*sets[turn % len(sets)]), sizes)


def _buffers(moved: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.randint(255, (max(1, moved // 2),), dtype=torch.uint8, device="cuda")
    return source, torch.empty_like(source)


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)
