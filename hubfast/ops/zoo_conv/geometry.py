"""Convolutions whose weights differ from sample to sample, and Zoo-Tuning's of M models' weights.

Any number of spatial dimensions. `Geometry` holds what torch's convolutions take.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.ops.zoo_conv.reference import align


class Geometry(NamedTuple):
    """Stride, zero padding and dilation, an integer a spatial dimension; and groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def output_size(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial size of the result."""
        sizes = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """torch's convolution in as many dimensions as `x` `(B, I, ...)` has."""
    nothing = (0,) * len(geometry.stride)
    stride, padding, dilation, groups = geometry
    return torch.convolution(x, weight, None, stride, padding, dilation, False, nothing, groups)


def sample_conv(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """`y_b = conv(x_b, W_b)`.

    Args:
        x: `(B, I, ...)`.
        weight: `(B, O, I / groups, ...)`.
        geometry: Of the convolution.

    Returns:
        `(B, O, ...)`.
    """
    samples = zip(x, weight, strict=True)
    return torch.stack([convolve(one[None], w, geometry)[0] for one, w in samples])


def sample_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and `weight` from `grad` `(B, O, ...)`, sample by sample."""
    found = [
        convolve_backward(grad[b : b + 1], x[b : b + 1], weight[b], geometry) for b in range(len(x))
    ]
    return torch.cat([dx for dx, _ in found]), torch.stack([dw for _, dw in found])


def convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, *, input_grad: bool = True
) -> tuple[Tensor, Tensor]:
    """Gradients of a plain convolution; that of `x` is None without `input_grad`."""
    nothing = [0] * len(geometry.stride)
    stride, padding, dilation, groups = geometry
    wanted = [input_grad, True, False]
    dx, dw, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, nothing, groups, wanted
    )
    return dx, dw


def zoo_conv(
    x: Tensor,
    weights: Tensor,
    gates: Tensor,
    geometry: Geometry,
    bias: Tensor | None = None,
    alignment: Tensor | None = None,
) -> Tensor:
    """`y_b = sum_m a_bm [conv(x_b, T_m W_m) + bias_m]`, a convolution a model.

    Args:
        x: `(B, I, ...)`.
        weights: `(M, O, I / groups, ...)`.
        gates: a, `(B, M)`.
        geometry: Of the convolution.
        bias: `(M, O)`.
        alignment: T, see `align`.
    """
    if alignment is not None:
        weights = align(weights, alignment)
    spatial = (1,) * (x.ndim - 2)
    out = x.new_zeros(())
    for model, weight in enumerate(weights):
        y = convolve(x, weight, geometry)
        if bias is not None:
            y = y + bias[model].view(-1, *spatial)
        out = out + gates[:, model].view(-1, 1, *spatial) * y
    return out
