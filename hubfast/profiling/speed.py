"""How fast a model answers, and what one answer takes."""

import time

import torch
from torch import Tensor, nn

from hubfast.nn.hooks import eval_mode
from hubfast.profiling import counts

WARM_UP = 2  # batches
LEAST_SECONDS = 0.5  # of measuring


def inference_speed(module: nn.Module, images: Tensor) -> float:
    """Samples per second of `module` in eval mode on batches like `images` `(B, 3, H, W)`."""
    with eval_mode(module), torch.inference_mode():
        for _ in range(WARM_UP):
            module(images)
        _wait(images)
        started, runs = time.perf_counter(), 0
        while time.perf_counter() - started < LEAST_SECONDS:
            module(images)
            _wait(images)
            runs += 1
        seconds = time.perf_counter() - started
    return runs * len(images) / seconds


def inference_cost(module: nn.Module, image: Tensor) -> int:
    """Multiply-adds of one image `(1, 3, H, W)` in eval mode; see `counts.multiply_adds`."""
    with eval_mode(module):
        return counts.multiply_adds(module, image)


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
