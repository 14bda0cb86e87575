"""Gradients of the convolution with a kernel of its own for each sample.

Spec: `reference.sample_conv_backward`. That of x is the forward's kernel; that of the weights sums
over a sample's pixels, one program per tap and tile of channels.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.sample_conv import launch_convolve, precision, tile_of
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like, pixels, pointwise


@triton.jit
def _weight_gradient(
    grad_ptr,
    x_ptr,
    dw_ptr,
    channels,
    out_channels,
    x_height,
    x_width,
    y_height,
    y_width,
    kernel_width,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    grad_stride_b,
    grad_stride_o,
    grad_stride_h,
    grad_stride_w,
    x_stride_b,
    x_stride_c,
    x_stride_h,
    x_stride_w,
    w_stride_b,
    w_stride_o,
    w_stride_c,
    w_stride_h,
    w_stride_w,
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
    grad_ptr += b * grad_stride_b
    x_ptr += b * x_stride_b
    total = tl.zeros([OUT, CHANNELS], tl.float32)
    for start in range(0, y_height * y_width, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        pixel_mask = pixel < y_height * y_width
        row, column = pixel // y_width, pixel % y_width
        h = row * stride_h - pad_h + tap_h * dilation_h
        w = column * stride_w - pad_w + tap_w * dilation_w
        tap_mask = pixel_mask & (h >= 0) & (h < x_height) & (w >= 0) & (w < x_width)
        grad_offset = (
            o[:, None] * grad_stride_o + (row * grad_stride_h + column * grad_stride_w)[None, :]
        )
        grad_mask = (o[:, None] < out_channels) & pixel_mask[None, :]
        grad = tl.load(grad_ptr + grad_offset, mask=grad_mask, other=0.0)
        x_offset = (h * x_stride_h + w * x_stride_w)[:, None] + c[None, :] * x_stride_c
        x_mask = tap_mask[:, None] & (c[None, :] < channels)
        x = tl.load(x_ptr + x_offset, mask=x_mask, other=0.0)
        total = tl.dot(grad, x, total, input_precision=PRECISION)
    offset = (
        o[:, None] * w_stride_o + c[None, :] * w_stride_c + tap_h * w_stride_h + tap_w * w_stride_w
    )
    mask = (o[:, None] < out_channels) & (c[None, :] < channels)
    tl.store(dw_ptr + b * w_stride_b + offset, total.to(dw_ptr.dtype.element_ty), mask=mask)


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
        *x.shape[2:],
        *grad.shape[2:],
        kernel[1],
        *geometry.stride,
        *geometry.padding,
        *geometry.dilation,
        *grad.stride(),
        *x.stride(),
        *dw.stride(),
        PRECISION=precision(),
        PIXELS=32,
        OUT=tile,
        CHANNELS=tile,
    )
    return dx, dw
