"""The head of a network: which module it is, and a new one in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from hubfast.nn.hooks import eval_mode

HEAD_STD = 0.01  # of a new head's weights, as B-Tuning and Zoo-Tuning publish it


class LinearCall(NamedTuple):
    """What one linear layer was given, and what it made of it."""

    layer: nn.Linear
    given: Tensor
    out: Tensor


@contextmanager
def linear_calls(module: nn.Module, count: int = 1) -> Iterator[list[LinearCall]]:
    """While it is open: a list of the last calls of nn.Linear layers, the last one first.

    Args:
        module: Whose layers are watched.
        count: How many calls are kept.
    """
    last: list[LinearCall] = []

    def keep(layer: nn.Linear, args: tuple, kwargs: dict[str, Any], out: Tensor) -> None:
        given = args[0] if args else kwargs["input"]
        last[:] = [LinearCall(layer, given, out), *last][:count]

    hooks = [
        m.register_forward_hook(keep, with_kwargs=True)
        for m in module.modules()
        if isinstance(m, nn.Linear)
    ]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def find_classifier(model: nn.Module, inputs: Tensor) -> tuple[str, nn.Linear | None]:
    """Name and module of the nn.Linear whose output the model returns; `("", None)` without.

    The model runs once on `inputs`, in eval mode.
    """
    with linear_calls(model) as last, eval_mode(model), torch.no_grad():
        out = model(inputs)
    if not last or last[0].out is not out or last[0].layer is model:
        return "", None
    return name_of(model, last[0].layer) or "", last[0].layer


def last_linear(network: nn.Module) -> str | None:
    """Name of the linear layer that comes last in the network, without running it.

    The layer within torch's attention, which is not called, is none.
    """
    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)
    ]
    return linear[-1] if linear else None


def name_of(network: nn.Module, module: nn.Module | None) -> str | None:
    """The dotted name of one of the network's modules; None if it is none of them."""
    return next((name for name, each in network.named_modules() if each is module), None)


def replace_head(network: Any, num_classes: int, head: str | None) -> str:
    """Gives `network` a new classifier, in place.

    Args:
        network: timm's networks tell which module their classifier is; otherwise it is the last
            linear layer.
        num_classes: How many outputs the new one has.
        head: The classifier's name, for networks that need one.

    Returns:
        The new module's name.

    Raises:
        ValueError: No classifier is found, or it is neither linear nor a convolution.
    """
    if head is None and hasattr(network, "reset_classifier"):
        network.reset_classifier(num_classes)
        head = name_of(network, network.get_classifier())
    elif head is None:
        head = last_linear(network)
    if head is None:
        raise ValueError("head must be given: this network does not tell which its classifier is")
    old = network.get_submodule(head)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, num_classes)
    elif isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, num_classes, 1)
    else:
        raise ValueError(f"head must be linear or a convolution, got {head}: {type(old).__name__}")
    start_head(new)
    put(network, head, new)
    return head


def start_head(head: Any) -> None:
    """Gives a new head, linear or a convolution, the weights that papers start it with."""
    nn.init.normal_(head.weight, std=HEAD_STD)
    nn.init.zeros_(head.bias)


def put(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` in the place of that name, on the device and in the dtype of what was there."""
    like = next(network.get_submodule(name).parameters(), None)
    network.set_submodule(name, module if like is None else module.to(like))
