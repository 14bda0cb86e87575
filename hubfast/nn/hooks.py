"""Modules as they were found: whatever hubfast changes in a module, it changes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Puts modules in eval mode while it is open, and every submodule back in its own mode after.

    A frozen BatchNorm inside a training model stays frozen. The modes come back after an exception
    and after Ctrl-C, too.
    """
    parts = [part for module in modules for part in module.modules()]
    modes = [(part, part.training) for part in parts if hasattr(part, "training")]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        # Parents come first. `train` is called and not only the flag set, because modules may do
        # more in it, such as to merge low-rank weights; it then leaves children in other modes.
        for part, training in modes:
            if part.training != training:
                part.train(training)
        for part, training in modes:
            part.training = training


@contextmanager
def on_device(module: nn.Module, device: str | torch.device) -> Iterator[None]:
    """Moves a module while it is open; after it, every parameter and buffer is the one before."""
    wanted = torch.empty(0, device=device).device
    parts = list(module.modules())
    weights = [
        (x, x.data, x.grad) for part in parts for x in part._parameters.values() if x is not None
    ]
    named: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (own, dict(own)) for part in parts for own in (part._parameters, part._buffers)
    ]
    tensors = (x for _, before in named for x in before.values() if x is not None)
    moves = any(x.device != wanted for x in tensors)
    try:
        if moves:
            module.to(wanted)
        yield
    finally:
        if moves:
            for weight, data, grad in weights:
                weight.data, weight.grad = data, grad
            for own, before in named:
                own.update(before)
