"""Training in several processes: which strategy a method needs, and which process speaks."""

from typing import Any

import torch
from torch import distributed, nn

from hubfast.nn.hooks import eval_mode

DDP = ("ddp", "ddp_spawn", "ddp_fork", "ddp_notebook")
UNUSED = "_find_unused_parameters_true"  # ends the names of Lightning's strategies that bear them


def strategy_for(strategy: str, method: nn.Module, example: Any) -> str:
    """The strategy of Lightning Fabric that trains `method` in several processes.

    Distributed training waits for the gradient of every parameter, unless it is told to look for
    parameters that a batch leaves unused. It is told so where a part of the method says of itself
    that it `leaves_parameters_unused`, as a hub does whose models run on some samples only; and
    where a pass of an example shows a part that never runs, such as a second classifier.

    Args:
        strategy: What the user asks for; "auto" is DDP.
        method: What is trained.
        example: A small batch of samples.
    """
    name = "ddp" if strategy == "auto" else strategy
    if name not in DDP:
        return strategy
    declared = any(getattr(part, "leaves_parameters_unused", False) for part in method.modules())
    return name + UNUSED if declared or unused_parameters(method, example) else strategy


def unused_parameters(method: nn.Module, samples: Any) -> list[str]:
    """Names of the trainable parameters that the logits of `samples` do not depend on."""
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    if not trained:
        return []
    samples = samples.to(next(iter(trained.values())).device)
    with eval_mode(method), torch.enable_grad():
        total = method(samples).float().sum()
        found = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
    return [name for name, gradient in zip(trained, found, strict=True) if gradient is None]


def is_first_process() -> bool:
    """Whether this process writes and prints: the only one, or the first of several."""
    return (
        not distributed.is_available()
        or not distributed.is_initialized()
        or (distributed.get_rank() == 0)
    )
