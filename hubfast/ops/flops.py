"""Floating-point operations of our ops for torch's counter: two per multiply-add."""

from collections.abc import Callable

import torch

Formula = Callable[..., int]


def formulas() -> dict[object, Formula]:
    """Each op's formula, for `torch.utils.flop_counter.FlopCounterMode(custom_mapping=...)`."""
    ops = torch.ops.hubfast
    return {
        ops.aggregate: aggregate,
        ops.aggregate_backward: aggregate_backward,
        ops.sample_conv: sample_conv,
        ops.sample_conv_backward: sample_conv_backward,
        ops.zoo_conv: zoo_conv,
        ops.zoo_conv_backward: zoo_conv_backward,
    }


def aggregate(weights: torch.Size, gates: torch.Size, *_: object, **__: object) -> int:
    return 2 * gates[0] * weights.numel()


def aggregate_backward(
    grad: torch.Size, weights: torch.Size, gates: torch.Size, *_: object, **__: object
) -> int:
    return 2 * aggregate(weights, gates)


def sample_conv(
    x: torch.Size, weight: torch.Size, *_: object, out_shape: torch.Size, **__: object
) -> int:
    return 2 * out_shape[2:].numel() * weight.numel()


def sample_conv_backward(
    grad: torch.Size, x: torch.Size, weight: torch.Size, *options: object, **__: object
) -> int:
    gradients = 2 if options[-1] else 1  # of the weight, and of x where it is asked for
    return 2 * gradients * grad[2:].numel() * weight.numel()


def zoo_conv(
    x: torch.Size,
    weights: torch.Size,
    gates: torch.Size,
    *_: object,
    out_shape: torch.Size,
    **__: object,
) -> int:
    products = gates[0] * weights[1:].numel() * out_shape[2:].numel()
    return 2 * products + aggregate(weights, gates)


def zoo_conv_backward(
    grad: torch.Size,
    x: torch.Size,
    weights: torch.Size,
    gates: torch.Size,
    *options: object,
    **__: object,
) -> int:
    products = gates[0] * weights[1:].numel() * grad[2:].numel()
    gradients = 2 if options[-1] else 1  # of the weights, and of x where it is asked for
    # The weights are mixed again, and their mix has two gradients.
    return 2 * gradients * products + 3 * aggregate(weights, gates)
