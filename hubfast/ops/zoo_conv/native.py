"""Convolutions with weights mixed for each sample by the native core (csrc/mixed_conv.hpp).

What `hubfast.ops.zoo_conv.blocked` does, with each core mixing a block of the weights in its own
cache and multiplying it at once by patches unfolded there: neither the B mixed weights nor the
patches are in memory, in either direction. Sums are in the same order for any number of threads,
which is torch's.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.ops.linalg.native import array, memory
from hubfast.ops.zoo_conv.geometry import Geometry, channels_last

MOST_TAPS = 126  # taps that a kernel may have
MOST_PIXELS = 200  # pixels of an output up to which this was faster than torch's convolutions


def fits(x: Tensor, weights: Tensor, dtype: torch.dtype, geometry: Geometry) -> bool:
    """Whether the core takes these shapes, memory orders and the dtype of mixed weights.

    It takes nothing empty.
    """
    single = x.dtype == dtype == torch.float32
    plain = x.device.type == "cpu" and geometry.groups == 1 and x.ndim in (3, 4)
    small = weights.shape[3:].numel() <= MOST_TAPS
    filled = min(x.numel(), weights.numel()) > 0
    return single and plain and small and filled and not channels_last(x)


def wins(x: Tensor, weights: Tensor, geometry: Geometry) -> bool:
    """Whether this is faster than `hubfast.ops.zoo_conv.blocked` (benchmarks/bench_zoo.py)."""
    kernel = tuple(weights.shape[3:])
    size = geometry.output_size(tuple(x.shape[2:]), kernel)
    return set(kernel) == {1} or torch.Size(size).numel() <= MOST_PIXELS


def forward(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> Tensor:
    """`x` (B, I, ...), `weights` (M, O, I, ...), `gates` (B, M) -> (B, O, ...)."""
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    y = x.new_empty(len(x), weights.shape[1], *size)
    _convolution(x, weights, gates, geometry).forward(_flat(y), torch.get_num_threads())
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    *,
    input_grad: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x` (empty without `input_grad`), weights and gates."""
    x, weights, gates = x.contiguous(), weights.contiguous(), gates.contiguous()
    convolution, threads = _convolution(x, weights, gates, geometry), torch.get_num_threads()
    d_y = _flat(grad)
    dx = torch.empty_like(x) if input_grad else x.new_empty(0)
    if input_grad:
        convolution.input_gradient(d_y, _flat(dx), threads)
    d_weights, d_gates = torch.empty_like(weights), torch.empty_like(gates)
    convolution.weight_gradient(d_y, _flat(d_weights, 3), memory(d_gates, torch.float32), threads)
    return dx, d_weights, d_gates


def _convolution(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> Any:
    import hubfast._native as core

    options = (geometry.stride, geometry.padding, geometry.dilation)
    sides = list(zip(x.shape[2:], weights.shape[3:], *options, strict=True))
    if len(sides) == 1:
        sides.insert(0, (1, 1, 1, 0, 1))
    return core.MixedConv(
        y=sides[0],
        x=sides[1],
        weights=_flat(weights, 3),
        gates=array(gates, torch.float32),
        images=_flat(x),
    )


def _flat(x: Tensor, first: int = 2) -> np.ndarray:
    """The memory of `x` with the dimensions from `first` on, those of image or kernel, as one."""
    return array(x, torch.float32).reshape(*x.shape[:first], -1)
