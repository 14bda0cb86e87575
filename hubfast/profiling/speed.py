"""How fast a model answers, and what one answer takes."""

import time
from typing import Any

import torch
from torch import nn

from hubfast.nn.hooks import eval_mode
from hubfast.profiling import counts

WARM_UP = 2  # batches
LEAST_SECONDS = 0.5  # of measuring


def inference_speed(module: nn.Module, batch: Any) -> float:
    """Samples per second of `module` in eval mode on batches like this one.

    Args:
        module: What is measured; it has parameters.
        batch: Images `(B, 3, H, W)`, or whatever else has a length and is what the module takes.
    """
    device = next(module.parameters()).device
    with eval_mode(module), torch.inference_mode():
        for _ in range(WARM_UP):
            module(batch)
        _wait(device)
        started, runs = time.perf_counter(), 0
        while time.perf_counter() - started < LEAST_SECONDS:
            module(batch)
            _wait(device)
            runs += 1
        seconds = time.perf_counter() - started
    return runs * len(batch) / seconds


def inference_cost(module: nn.Module, sample: Any) -> int:
    """Multiply-adds of a batch of one sample in eval mode; see `counts.multiply_adds`."""
    with eval_mode(module):
        return counts.multiply_adds(module, sample)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
