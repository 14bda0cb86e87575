"""Convolutions with weights mixed for each sample, all samples in one of torch's on a GPU.

Samples become groups of channels: one grouped convolution for any batch. Where each pixel is one
matrix product, such as a token's of a linear layer, it is one batched product instead. The mixed
weights of one layer exist at a time; backward mixes them again.
"""

import torch
from torch import Tensor

from hubfast.ops.zoo_conv.aggregate import mix, mix_backward
from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    convolve,
    convolve_backward,
    empty_like,
    pixels,
    pointwise,
)


def forward(
    x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry, backend: str | None
) -> Tensor:
    """`x` (B, I, ...), `weights` (M, O, I / groups, ...), `gates` (B, M) -> (B, O, ...).

    `backend` says who mixes the weights, as in `hubfast.ops.aggregate`.
    """
    kernel = tuple(weights.shape[3:])
    y = empty_like(x, weights.shape[1], geometry.output_size(tuple(x.shape[2:]), kernel))
    if not y.numel():
        return y
    if pointwise(kernel, geometry):
        mixed = mix(weights, gates, x.dtype, backend).flatten(2)
        torch.bmm(mixed, pixels(_taken(x, geometry)), out=pixels(y))
        return y
    mixed = mix(weights.contiguous(), gates, x.dtype, backend).flatten(0, 1)
    folded = convolve(x.flatten(0, 1)[None], mixed, _folded(geometry, len(x)))
    return _like(folded.view(y.shape), y)


def backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    backend: str | None,
    *,
    input_grad: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x` (empty without `input_grad`), weights and gates."""
    kernel = tuple(weights.shape[3:])
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    if not grad.numel():
        return dx.zero_(), torch.zeros_like(weights), torch.zeros_like(gates)
    if pointwise(kernel, geometry):
        d_y, mixed = pixels(grad), mix(weights, gates, x.dtype, backend)
        d_mixed = torch.bmm(d_y, pixels(_taken(x, geometry)).mT)
        if input_grad:
            _put_pixels(dx, mixed.flatten(2).mT, d_y, geometry)
    else:
        mixed = mix(weights.contiguous(), gates, x.dtype, backend)
        d_x, d_mixed = convolve_backward(
            grad.flatten(0, 1)[None],
            x.flatten(0, 1)[None],
            mixed.flatten(0, 1),
            _folded(geometry, len(x)),
            input_grad=input_grad,
        )
        if input_grad:
            dx = _like(d_x.view(x.shape), dx)
    return dx, *mix_backward(d_mixed.view(mixed.shape), weights, gates, backend)


def _folded(geometry: Geometry, samples: int) -> Geometry:
    return geometry._replace(groups=samples * geometry.groups)


def _taken(x: Tensor, geometry: Geometry) -> Tensor:
    """The pixels that a pointwise convolution reads."""
    for dimension, step in enumerate(geometry.stride, 2):
        x = x[(slice(None),) * dimension + (slice(None, None, step),)]
    return x


def _put_pixels(dx: Tensor, mixed: Tensor, d_y: Tensor, geometry: Geometry) -> None:
    if max(geometry.stride) == 1:
        torch.bmm(mixed, d_y, out=pixels(dx))
        return
    into = _taken(dx.zero_(), geometry)
    into.copy_(torch.bmm(mixed, d_y).view(into.shape))


def _like(value: Tensor, room: Tensor) -> Tensor:
    """`value` in the memory order of `room`."""
    return value if value.stride() == room.stride() else room.copy_(value)
