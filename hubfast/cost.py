"""What a model costs: parameters, and multiply-adds of a forward pass."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hubfast.functional.flops import formulas


def parameters(module: nn.Module) -> int:
    """Number of trained values; buffers such as running statistics do not count."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of `module(*inputs)` in matrix products and convolutions.

    Papers on vision call this number FLOPs (ResNet-50 at 224 pixels: 4.1 G); torch counts a
    multiply-add as two. The module runs once, in its present mode; a meta-device module works.
    """
    with FlopCounterMode(display=False, custom_mapping=formulas()) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2
