"""Zoo-Tuning's convolution: each sample's mix of M models' weights, and its gradients.

Spec: `reference.zoo_conv`. A chunk of samples at a time has mixed weights, with a tap's input
channels side by side, in one buffer that all chunks share. The gradient of a chunk's mixed weights
takes their place.
"""

from collections.abc import Iterator

import torch
from hubfast.kernels.aggregate import aggregate_backward_into, aggregate_into
from hubfast.kernels.sample_conv import convolve_into, input_gradient_into
from hubfast.kernels.sample_conv_backward import weight_gradient_into
from torch import Tensor

from hubfast.ops.zoo_conv.chunks import Layer, chunk_of
from hubfast.ops.zoo_conv.geometry import Geometry, empty_in_order, empty_like


def zoo_conv(
    x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry, *, chunk: int | None = None
) -> Tensor:
    """`reference.zoo_conv` for CUDA tensors: one chunk's mixed weights exist at a time.

    `chunk` is how many samples it has; None takes what was measured, or arithmetic.
    """
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weights.shape[3:]))
    y = empty_like(x, weights.shape[1], size)
    chunk = chunk or chunk_of(Layer.of(x, weights, y.shape[2:].numel()), "forward", x.device)
    weights = _taps_first(weights)
    for part, mixed in _chunks(weights, len(x), chunk, x.dtype):
        aggregate_into(weights, gates[part], mixed)
        convolve_into(x[part], mixed, y[part], geometry)
    return y


def zoo_conv_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    *,
    input_grad: bool = True,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, which is empty without `input_grad`, of weights and gates.

    The weights are mixed again, not kept. Their gradient adds up over chunks in float32.
    """
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    chunk = chunk or chunk_of(Layer.of(x, weights, grad.shape[2:].numel()), "backward", x.device)
    weights = _taps_first(weights)
    d_gates = torch.empty_like(gates, memory_format=torch.contiguous_format)
    dtype = weights.dtype if chunk >= len(x) else torch.float32
    d_weights = empty_in_order(weights, len(weights), dtype)
    for part, mixed in _chunks(weights, len(x), chunk, x.dtype):
        if input_grad:
            aggregate_into(weights, gates[part], mixed)
            input_gradient_into(grad[part], mixed, dx[part], geometry)
        weight_gradient_into(grad[part], x[part], mixed, geometry)
        into = d_weights, d_gates[part]
        aggregate_backward_into(mixed, weights, gates[part], *into, add=part.start > 0)
    return dx, d_weights.to(weights.dtype), d_gates


def _chunks(
    weights: Tensor, samples: int, chunk: int, dtype: torch.dtype
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the samples, one at least, and room for their mixed weights."""
    room = empty_in_order(weights, min(chunk, samples), dtype)
    for start in range(0, max(samples, 1), max(chunk, 1)):
        part = slice(start, min(start + chunk, samples))
        yield part, room[: part.stop - part.start]


def _taps_first(weights: Tensor) -> Tensor:
    """`(M, O, I, h, w)` with a tap's input channels side by side; no copy where they are."""
    return weights.movedim(2, -1).contiguous().movedim(-1, 2)
