"""The convolution with a kernel of its own for each sample."""

from typing import Any

import torch
from torch import Tensor

from hubfast.ops.backends import takes_triton
from hubfast.ops.registration import register
from hubfast.ops.zoo_conv import reference
from hubfast.ops.zoo_conv.geometry import (
    Geometry,
    as_geometry,
    autocasts,
    check_weight,
    empty_like,
    kernel_fits,
)


def sample_conv(
    x: Tensor,
    weight: Tensor,
    *,
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Convolution with a kernel of its own for each sample: `y_b = conv(x_b, weight_b)`.

    Under autocast both take the lower dtype, as in torch's convolutions.

    Args:
        x: `(B, I, ...)`, any number of spatial dimensions.
        weight: `(B, O, I / groups, ...)`, same dtype.
        stride: One integer per spatial dimension; ones by default.
        padding: Zeros added on either side, per spatial dimension; none by default.
        dilation: Distance of the kernel's taps, per spatial dimension; ones by default.
        groups: Groups of channels, as in torch's convolutions.
        backend: `"triton"` (CUDA, two spatial dimensions, one group), `"torch"`, or None.

    Returns:
        `(B, O, ...)`, in the memory order of `x`.

    Raises:
        TypeError: Another dtype of `weight` than that of `x`.
        ValueError: Shapes that do not fit each other, or a result without pixels.
    """
    geometry = as_geometry(x, stride, padding, dilation, groups)
    check_weight("weight", x, weight, groups)
    if len(weight) != len(x):
        raise ValueError(f"weight must be of {len(x)} samples as x is, got {len(weight)}")
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[3:])
    if min(geometry.output_size(size, kernel)) < 1:
        raise ValueError(
            f"weight's taps must fit into the padded x, got a kernel of {kernel} for a size of "
            f"{size} with padding {geometry.padding} and dilation {geometry.dilation}"
        )
    if autocasts(x):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if weight.dtype != x.dtype:
        raise TypeError(f"weight must be {x.dtype} as x is, got {weight.dtype}")
    return _sample_conv_op(x, weight, *geometry, backend)


def _fake_sample_conv(
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry.of(stride, padding, dilation, groups)
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weight.shape[3:]))
    return empty_like(x, weight.shape[1], size)


def _fake_sample_conv_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
    input_grad: bool,
) -> tuple[Tensor, Tensor]:
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    return dx, torch.empty_like(weight)


@register("sample_conv_backward", fake=_fake_sample_conv_backward)
def _sample_conv_backward_op(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
    input_grad: bool,
) -> tuple[Tensor, Tensor]:
    geometry = Geometry.of(stride, padding, dilation, groups)
    if takes_triton(backend, x, kernel_fits(x, geometry)):
        from hubfast.kernels.sample_conv_backward import sample_conv_backward as kernel

        return kernel(grad, x, weight, geometry, input_grad=input_grad)
    dx, dw = reference.sample_conv_backward(grad, x, weight, geometry)
    room = x.new_empty(0)
    if input_grad:
        room = empty_like(x, x.shape[1], tuple(x.shape[2:])).copy_(dx)
    return room, torch.empty_like(weight).copy_(dw)


def _setup_sample_conv(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weight, *ctx.options = inputs
    ctx.save_for_backward(x, weight)


def _grad_sample_conv(ctx: Any, grad: Tensor) -> tuple:
    wanted = ctx.needs_input_grad[0]
    dx, dw = _sample_conv_backward_op(grad, *ctx.saved_tensors, *ctx.options, wanted)
    return dx if wanted else None, dw, None, None, None, None, None


@register(
    "sample_conv", fake=_fake_sample_conv, setup=_setup_sample_conv, backward=_grad_sample_conv
)
def _sample_conv_op(
    x: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    backend: str | None,
) -> Tensor:
    geometry = Geometry.of(stride, padding, dilation, groups)
    if takes_triton(backend, x, kernel_fits(x, geometry)):
        from hubfast.kernels.sample_conv import sample_conv as kernel

        return kernel(x, weight, geometry)
    y = reference.sample_conv(x, weight, geometry)
    return empty_like(x, y.shape[1], tuple(y.shape[2:])).copy_(y)
