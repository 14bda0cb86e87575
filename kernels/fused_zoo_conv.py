"""Zoo-Tuning's convolution without mixed weights in memory, for maps of few pixels.

Spec: `reference.zoo_conv` and its gradients. Where a sample has few pixels, writing and reading its
own weights costs more than the products do.

- Forward, and the gradient of x: a program serves a few samples, whose pixels and outputs it keeps.
  It loads a tile of M models' weights once, mixes it for each, and multiplies.
- Gradients of weights and gates: a program owns a tile of the weights of one tap, of all models,
  and goes through the samples. The products over a sample's pixels stay in registers, where they
  add to M gradients, and to M gates by products with the models' weights. The tiles' parts of
  the gates' gradients are added up in a fixed order: the same bits each time.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.sample_conv import precision, tile_of
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry

SAMPLES = 4  # samples that share a tile of weights
PIXELS, OUT = 64, 32
SIDE = 32  # of a tile of gradients


@triton.jit
def _mixed_convolve(
    x_ptr,
    w_ptr,
    gates_ptr,  # (B, M)
    y_ptr,
    samples,
    models,
    channels,  # summed over
    out_channels,
    x_height,
    x_width,
    y_height,
    y_width,
    kernel_height,
    kernel_width,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    x_stride_b,
    x_stride_c,
    x_stride_h,
    x_stride_w,
    w_stride_m,
    w_stride_c,
    w_stride_o,
    w_stride_h,
    w_stride_w,
    y_stride_b,
    y_stride_o,
    y_stride_h,
    y_stride_w,
    GRADIENT: tl.constexpr,  # x is the output's gradient, y the input's
    PRECISION: tl.constexpr,
    SAMPLES: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    b = tl.program_id(2).to(tl.int64) * SAMPLES + tl.arange(0, SAMPLES)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    o = tl.program_id(1) * OUT + tl.arange(0, OUT)
    pixel_mask = pixel < y_height * y_width
    row, column = pixel // y_width, pixel % y_width
    total = tl.zeros([SAMPLES, PIXELS, OUT], tl.float32)
    for tap in range(kernel_height * kernel_width):
        tap_h, tap_w = tap // kernel_width, tap % kernel_width
        if GRADIENT:
            h = row + pad_h - tap_h * dilation_h
            w = column + pad_w - tap_w * dilation_w
            tap_mask = pixel_mask & (h >= 0) & (w >= 0) & (h % stride_h == 0) & (w % stride_w == 0)
            h, w = h // stride_h, w // stride_w
        else:
            h = row * stride_h - pad_h + tap_h * dilation_h
            w = column * stride_w - pad_w + tap_w * dilation_w
            tap_mask = pixel_mask & (h >= 0) & (w >= 0)
        tap_mask = tap_mask & (h < x_height) & (w < x_width)
        x_offset = b[:, None] * x_stride_b + (h * x_stride_h + w * x_stride_w)[None, :]
        x_tap_mask = (b < samples)[:, None] & tap_mask[None, :]
        for start in range(0, channels, CHANNELS):
            c = start + tl.arange(0, CHANNELS)
            x_mask = x_tap_mask[:, :, None] & (c < channels)[None, None, :]
            offset = x_offset[:, :, None] + (c * x_stride_c)[None, None, :]
            x = tl.load(x_ptr + offset, mask=x_mask, other=0.0)
            w_offset = (
                c[:, None] * w_stride_c
                + o[None, :] * w_stride_o
                + tap_h * w_stride_h
                + tap_w * w_stride_w
            )
            w_mask = (c[:, None] < channels) & (o[None, :] < out_channels)
            mixed = tl.zeros([SAMPLES, CHANNELS, OUT], tl.float32)
            for m in range(models):
                gate = tl.load(gates_ptr + b * models + m, mask=b < samples, other=0.0)
                weight = tl.load(w_ptr + m * w_stride_m + w_offset, mask=w_mask, other=0.0)
                mixed += gate.to(tl.float32)[:, None, None] * weight.to(tl.float32)[None, :, :]
            total = tl.dot(x, mixed.to(x.dtype), total, input_precision=PRECISION)
    y_offset = b[:, None] * y_stride_b + (row * y_stride_h + column * y_stride_w)[None, :]
    y_offset = y_offset[:, :, None] + (o * y_stride_o)[None, None, :]
    y_mask = ((b < samples)[:, None] & pixel_mask[None, :])[:, :, None]
    y_mask = y_mask & (o < out_channels)[None, None, :]
    tl.store(y_ptr + y_offset, total.to(y_ptr.dtype.element_ty), mask=y_mask)


@triton.jit
def _weight_and_gate_gradients(
    grad_ptr,
    x_ptr,
    w_ptr,  # (M, O, h, w, I), contiguous; so is its gradient
    gates_ptr,  # (B, M)
    dw_ptr,
    partial_ptr,  # (tiles, B, M) float32
    samples,
    models,
    channels,
    out_channels,
    x_height,
    x_width,
    y_height,
    y_width,
    kernel_width,
    taps,
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
    PRECISION: tl.constexpr,
    MODELS: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    o = tl.program_id(0) * OUT + tl.arange(0, OUT)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    tap = tl.program_id(2)
    tile = (tap * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    tap_h, tap_w = tap // kernel_width, tap % kernel_width
    m = tl.arange(0, MODELS)
    line = m.to(tl.int64)[:, None] * out_channels + o[None, :]
    w_offset = ((line * taps + tap) * channels)[:, :, None] + c[None, None, :]
    w_mask = ((m < models)[:, None] & (o < out_channels)[None, :])[:, :, None]
    w_mask = w_mask & (c < channels)[None, None, :]
    weights = tl.load(w_ptr + w_offset, mask=w_mask, other=0.0).to(tl.float32)
    total = tl.zeros([MODELS, OUT, CHANNELS], tl.float32)
    for b in range(samples):
        product = tl.zeros([OUT, CHANNELS], tl.float32)
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
            x = tl.load(
                x_ptr + x_offset, mask=tap_mask[:, None] & (c[None, :] < channels), other=0.0
            )
            product = tl.dot(grad, x, product, input_precision=PRECISION)
        gates = tl.load(gates_ptr + b * models + m, mask=m < models, other=0.0).to(tl.float32)
        total += gates[:, None, None] * product[None, :, :]
        part = tl.sum(tl.sum(weights * product[None, :, :], axis=2), axis=1)
        offset = (tile.to(tl.int64) * samples + b) * models + m
        tl.store(partial_ptr + offset, part, mask=m < models)
        grad_ptr += grad_stride_b  # not b grad_stride_b, which may pass 2^31
        x_ptr += x_stride_b
    tl.store(dw_ptr + w_offset, total.to(dw_ptr.dtype.element_ty), mask=w_mask)


def mixed_convolve(
    x: Tensor, weights: Tensor, gates: Tensor, y: Tensor, geometry: Geometry, *, gradient: bool
) -> None:
    """Writes into `y`; `weights` is (M, summed channels, produced channels, h, w)."""
    models, channels, out_channels, *kernel = weights.shape
    out = tile_of(out_channels, OUT)
    grid = (
        triton.cdiv(y.shape[2] * y.shape[3], PIXELS),
        triton.cdiv(out_channels, out),
        triton.cdiv(len(x), SAMPLES),
    )
    _mixed_convolve[grid](
        x,
        weights,
        gates.contiguous(),
        y,
        len(x),
        models,
        channels,
        out_channels,
        *x.shape[2:],
        *y.shape[2:],
        *kernel,
        *geometry.stride,
        *geometry.padding,
        *geometry.dilation,
        *x.stride(),
        *weights.stride(),
        *y.stride(),
        GRADIENT=gradient,
        PRECISION=precision(),
        SAMPLES=SAMPLES,
        PIXELS=PIXELS,
        OUT=out,
        CHANNELS=tile_of(channels, 32),
        num_warps=8,
    )


def weight_and_gate_gradients(
    grad: Tensor, x: Tensor, ordered: Tensor, gates: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Gradients of `ordered` (M, O, h, w, I) and gates, without those of the samples' weights."""
    models, out_channels, height, width, channels = ordered.shape
    grid = (triton.cdiv(out_channels, SIDE), triton.cdiv(channels, SIDE), height * width)
    dw = torch.empty_like(ordered)
    partial = gates.new_empty(grid[0] * grid[1] * grid[2], len(x), models, dtype=torch.float32)
    _weight_and_gate_gradients[grid](
        grad,
        x,
        ordered,
        gates.contiguous(),
        dw,
        partial,
        len(x),
        models,
        channels,
        out_channels,
        *x.shape[2:],
        *grad.shape[2:],
        width,
        height * width,
        *geometry.stride,
        *geometry.padding,
        *geometry.dilation,
        *grad.stride(),
        *x.stride(),
        PRECISION=precision(),
        MODELS=triton.next_power_of_2(models),
        PIXELS=32,
        OUT=SIDE,
        CHANNELS=SIDE,
        num_warps=8,
    )
    return dw, partial.sum(0).to(gates.dtype)
