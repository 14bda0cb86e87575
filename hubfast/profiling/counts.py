"""What a model costs: parameters, and multiply-adds of a forward pass."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hubfast.ops.flops import formulas

NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU)


def parameters(module: nn.Module) -> int:
    """Number of trained values; buffers such as running statistics do not count."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def multiply_adds(module: nn.Module, *inputs: Any) -> int:
    """Multiply-adds of `module(*inputs)` in matrix products and convolutions.

    Papers on vision call this number FLOPs (ResNet-50 at 224 pixels: 4.1 G); torch counts a
    multiply-add as two. The module runs once, in its present mode; a meta-device module works.
    """
    with FlopCounterMode(display=False, custom_mapping=formulas()) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


@torch.no_grad()
def operations(module: nn.Module, *inputs: Any) -> int:
    """`multiply_adds`, and the elementwise work of layers: what ptflops and papers after it count.

    Two for each output of a normalisation, one for each of an activation, one for each input of
    a pooling (ResNet-50 at 224 pixels: 4.12 G). Elementwise work outside of layers is not seen.
    """
    counted = 0

    def hook(layer: nn.Module, given: Any, out: Any) -> None:
        nonlocal counted
        if isinstance(layer, NORMS):
            counted += 2 * out.numel()
        elif isinstance(layer, POOLS):
            counted += given[0].numel()
        else:
            counted += out.numel()

    hooks = [
        layer.register_forward_hook(hook)
        for layer in module.modules()
        if isinstance(layer, NORMS + POOLS + ACTIVATIONS)
    ]
    try:
        return multiply_adds(module, *inputs) + counted
    finally:
        for handle in hooks:
            handle.remove()
