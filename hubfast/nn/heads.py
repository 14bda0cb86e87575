"""The head of a network: which module it is, and a new one in its place."""

from typing import Any

from torch import nn

HEAD_DEVIATION = 0.01  # of a new head's weights, as published


def replace_head(network: Any, num_classes: int, head: str | None) -> str:
    """Gives `network` a new classifier, in place.

    Args:
        network: timm's networks tell which module their classifier is; otherwise it is the last
            linear layer.
        num_classes: C.
        head: The classifier's name, for networks that need one.

    Returns:
        The new module's name.

    Raises:
        ValueError: No classifier to be found, or more than one.
    """
    if head is None and hasattr(network, "reset_classifier"):
        network.reset_classifier(num_classes)
        classifier = network.get_classifier()
        head = next((n for n, m in network.named_modules() if m is classifier), None)
    elif head is None:
        linear = [name for name, module in network.named_modules() if type(module) is nn.Linear]
        head = linear[-1] if linear else None
    if head is None:
        raise ValueError("head must be given: this network does not tell which its classifier is")
    old = network.get_submodule(head)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, num_classes)
    elif isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, num_classes, 1)
    else:
        raise ValueError(f"head must be linear or a convolution, got {head}: {type(old).__name__}")
    nn.init.normal_(new.weight, std=HEAD_DEVIATION)  # type: ignore[arg-type]
    nn.init.zeros_(new.bias)  # type: ignore[arg-type]
    put(network, head, new)
    return head


def put(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` in the place of that name, on the device and in the dtype of what was there."""
    old = network.get_submodule(name)
    like = next(old.parameters(), None)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module if like is None else module.to(like))
