"""Gradients of the convolution with a kernel of its own for each sample.

Spec: `reference.sample_conv_backward`. That of x is the forward's kernel; that of the weights sums
over a sample's pixels, one program per tap and tile of channels.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.sample_conv import launch_convolve, precision, tile_of
from hubfast.kernels.taps import pixels_from, tap_source
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like, pixels, pointwise


@triton.jit
def _weight_gradient(
    grad_ptr,
    x_ptr,
    dw_ptr,
    channels,
    out_channels,
    x_size,
    y_size,
    kernel_width,
    geometry,
    grad_strides,  # (b, o, h, w)
    x_strides,  # (b, c, h, w)
    w_strides,  # (b, o, c, h, w)
    PRECISION: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    tiles = tl.cdiv(channels, CHANNELS)
    b, tap = tl.program_id(2).to(tl.int64), tl.program_id(1)
    o = (tl.program_id(0) // tiles) * OUT + tl.arange(0, OUT)
    c = (tl.program_id(0) % tiles) * CHANNELS + tl.arange(0, CHANNELS)
    tap_h, tap_w = tap // kernel_width, tap % kernel_width
    grad_ptr += b * grad_strides[0]
    x_ptr += b * x_strides[0]
    total = tl.zeros([OUT, CHANNELS], tl.float32)
    for start in range(0, y_size[0] * y_size[1], PIXELS):
        row, column, pixel_mask = pixels_from(start, y_size, PIXELS)
        x_offset, tap_mask = tap_source(
            row, column, pixel_mask, tap_h, tap_w, geometry, x_size, x_strides, False
        )
        grad_offset = o[:, None] * grad_strides[1]
        grad_offset += (row * grad_strides[2] + column * grad_strides[3])[None, :]
        grad_mask = (o[:, None] < out_channels) & pixel_mask[None, :]
        grad = tl.load(grad_ptr + grad_offset, mask=grad_mask, other=0.0)
        x_offset = x_offset[:, None] + c[None, :] * x_strides[1]
        x_mask = tap_mask[:, None] & (c[None, :] < channels)
        x = tl.load(x_ptr + x_offset, mask=x_mask, other=0.0)
        total = tl.dot(grad, x, total, input_precision=PRECISION)
    offset = o[:, None] * w_strides[1] + c[None, :] * w_strides[2]
    offset = offset + tap_h * w_strides[3] + tap_w * w_strides[4]
    mask = (o[:, None] < out_channels) & (c[None, :] < channels)
    tl.store(dw_ptr + b * w_strides[0] + offset, total.to(dw_ptr.dtype.element_ty), mask=mask)


def sample_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, *, input_grad: bool = True
) -> tuple[Tensor, Tensor]:
    """`reference.sample_conv_backward`; the gradient of x is empty without `input_grad`."""
    kernel = tuple(weight.shape[3:])
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    dw = torch.empty_like(weight)
    if pointwise(kernel, geometry):
        every = (..., slice(None, None, geometry.stride[0]), slice(None, None, geometry.stride[1]))
        d_y = pixels(grad)
        dw.copy_((d_y @ pixels(x[every]).mT).view(dw.shape))
        if input_grad:
            strided = dx.zero_()[every]
            strided.copy_((weight.flatten(2).mT @ d_y).view(strided.shape))
        return dx, dw
    if input_grad:
        launch_convolve(grad, weight, dx, geometry, gradient=True)
    tile = tile_of(min(weight.shape[1:3]))
    grid = (
        triton.cdiv(weight.shape[1], tile) * triton.cdiv(x.shape[1], tile),
        kernel[0] * kernel[1],
        len(x),
    )
    _weight_gradient[grid](
        grad,
        x,
        dw,
        x.shape[1],
        weight.shape[1],
        tuple(x.shape[2:]),
        tuple(grad.shape[2:]),
        kernel[1],
        geometry,
        grad.stride(),
        x.stride(),
        dw.stride(),
        PRECISION=precision(),
        PIXELS=32,
        OUT=tile,
        CHANNELS=tile,
    )
    return dx, dw
