"""Zoo-Tuning's convolution as plain ones: of M gated copies of the input, or by M models."""

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from hubfast.ops.zoo_conv.geometry import Geometry, channels_last, convolve, pointwise


def concatenated(x: Tensor, weights: Tensor, gates: Tensor, geometry: Geometry) -> Tensor:
    """Convolves the M gated copies of `x` `(B, I, ...)` at once."""
    copies, joined = _gated_copies(x, gates.to(x.dtype)), _joined(x, weights)
    if x.device.type == "cuda":  # tensor cores take 16 bytes of channels
        copies, joined = _padded(copies, joined, max(1, 16 // x.element_size()))
    return dense(copies, joined, geometry)


def _gated_copies(x: Tensor, gates: Tensor) -> Tensor:
    """`(B, M I, ...)`, in the memory order of `x` `(B, I, ...)`."""
    if channels_last(x):
        gates = gates.view(x.shape[0], *(1,) * (x.ndim - 2), -1, 1)
        return (gates * x.movedim(1, -1).unsqueeze(-2)).flatten(-2).movedim(-1, 1)
    return (gates.view(x.shape[0], -1, *(1,) * (x.ndim - 1)) * x.unsqueeze(1)).flatten(1, 2)


def _joined(x: Tensor, weights: Tensor) -> Tensor:
    """`(O, M I, ...)` in the dtype and memory order of `x`, by one copy."""
    if channels_last(x):
        taps = weights.movedim((0, 2), (-2, -1))  # (O, ..., M, I)
        taps = taps.to(x.dtype, memory_format=torch.contiguous_format)
        return taps.flatten(-2).movedim(-1, 1)
    rows = weights.transpose(0, 1).to(x.dtype, memory_format=torch.contiguous_format)
    return rows.flatten(1, 2)


def _padded(x: Tensor, weight: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Both with channels of zeros up to a multiple."""
    sides = (*(0, 0) * (x.ndim - 2), 0, -x.shape[1] % multiple)
    return (pad(x, sides), pad(weight, sides)) if sides[-1] else (x, weight)


def dense(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """A plain convolution; tokens are multiplied as `nn.Linear` does."""
    plain = set(geometry.stride) == {1} and pointwise(tuple(weight.shape[2:]), geometry)
    if plain and channels_last(x):
        return linear(x.movedim(1, -1), weight.flatten(1)).movedim(-1, 1)
    return convolve(x, weight, geometry)


def separate(
    x: Tensor, weights: Tensor, gates: Tensor, alignment: Tensor | None, geometry: Geometry
) -> Tensor:
    """Aligns the M results, at `O^2` products per pixel, and not the M kernels."""
    models, channels = weights.shape[:2]
    spatial = (1,) * (x.ndim - 2)
    y = dense(x, weights.flatten(0, 1).to(x.dtype), geometry).unflatten(1, (models, channels))
    y = y * gates.view(-1, models, 1, *spatial).to(y.dtype)
    if alignment is None:
        return y.sum(1)
    joined = alignment.transpose(0, 1).flatten(1)  # (O, M O)
    plain = Geometry(spatial, (0,) * len(spatial), spatial)
    return dense(y.flatten(1, 2), joined.view(channels, -1, *spatial).to(y.dtype), plain)
