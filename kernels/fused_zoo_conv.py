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
from hubfast.kernels.taps import pixels_from, tap_source
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
    x_size,
    y_size,
    kernel,  # height and width
    geometry,
    x_strides,  # (b, c, h, w)
    w_strides,  # (m, c, o, h, w)
    y_strides,  # (b, o, h, w)
    GRADIENT: tl.constexpr,  # x is the output's gradient, y the input's
    PRECISION: tl.constexpr,
    SAMPLES: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    b = tl.program_id(2).to(tl.int64) * SAMPLES + tl.arange(0, SAMPLES)
    row, column, pixel_mask = pixels_from(tl.program_id(0) * PIXELS, y_size, PIXELS)
    o = tl.program_id(1) * OUT + tl.arange(0, OUT)
    total = tl.zeros([SAMPLES, PIXELS, OUT], tl.float32)
    for tap in range(kernel[0] * kernel[1]):
        tap_h, tap_w = tap // kernel[1], tap % kernel[1]
        x_offset, tap_mask = tap_source(
            row, column, pixel_mask, tap_h, tap_w, geometry, x_size, x_strides, GRADIENT
        )
        x_offset = b[:, None] * x_strides[0] + x_offset[None, :]
        x_tap_mask = (b < samples)[:, None] & tap_mask[None, :]
        for start in range(0, channels, CHANNELS):
            c = start + tl.arange(0, CHANNELS)
            x_mask = x_tap_mask[:, :, None] & (c < channels)[None, None, :]
            offset = x_offset[:, :, None] + (c * x_strides[1])[None, None, :]
            x = tl.load(x_ptr + offset, mask=x_mask, other=0.0)
            w_offset = c[:, None] * w_strides[1] + o[None, :] * w_strides[2]
            w_offset += tap_h * w_strides[3] + tap_w * w_strides[4]
            w_mask = (c[:, None] < channels) & (o[None, :] < out_channels)
            mixed = tl.zeros([SAMPLES, CHANNELS, OUT], tl.float32)
            for m in range(models):
                gate = tl.load(gates_ptr + b * models + m, mask=b < samples, other=0.0)
                weight = tl.load(w_ptr + m * w_strides[0] + w_offset, mask=w_mask, other=0.0)
                mixed += gate.to(tl.float32)[:, None, None] * weight.to(tl.float32)[None, :, :]
            total = tl.dot(x, mixed.to(x.dtype), total, input_precision=PRECISION)
    y_offset = b[:, None] * y_strides[0] + (row * y_strides[2] + column * y_strides[3])[None, :]
    y_offset = y_offset[:, :, None] + (o * y_strides[1])[None, None, :]
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
    x_size,
    y_size,
    kernel,  # height and width
    geometry,
    grad_strides,  # (b, o, h, w)
    x_strides,  # (b, c, h, w)
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
    tap_h, tap_w = tap // kernel[1], tap % kernel[1]
    m = tl.arange(0, MODELS)
    line = m.to(tl.int64)[:, None] * out_channels + o[None, :]
    w_offset = ((line * (kernel[0] * kernel[1]) + tap) * channels)[:, :, None] + c[None, None, :]
    w_mask = ((m < models)[:, None] & (o < out_channels)[None, :])[:, :, None]
    w_mask = w_mask & (c < channels)[None, None, :]
    weights = tl.load(w_ptr + w_offset, mask=w_mask, other=0.0).to(tl.float32)
    total = tl.zeros([MODELS, OUT, CHANNELS], tl.float32)
    for b in range(samples):
        product = tl.zeros([OUT, CHANNELS], tl.float32)
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
            product = tl.dot(grad, x, product, input_precision=PRECISION)
        gates = tl.load(gates_ptr + b * models + m, mask=m < models, other=0.0).to(tl.float32)
        total += gates[:, None, None] * product[None, :, :]
        part = tl.sum(tl.sum(weights * product[None, :, :], axis=2), axis=1)
        offset = (tile.to(tl.int64) * samples + b) * models + m
        tl.store(partial_ptr + offset, part, mask=m < models)
        grad_ptr += grad_strides[0]  # not b grad_strides[0], which may pass 2^31
        x_ptr += x_strides[0]
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
        tuple(x.shape[2:]),
        tuple(y.shape[2:]),
        tuple(kernel),
        geometry,
        x.stride(),
        weights.stride(),
        y.stride(),
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
        tuple(x.shape[2:]),
        tuple(grad.shape[2:]),
        (height, width),
        geometry,
        grad.stride(),
        x.stride(),
        PRECISION=precision(),
        MODELS=triton.next_power_of_2(models),
        PIXELS=32,
        OUT=SIDE,
        CHANNELS=SIDE,
        num_warps=8,
    )
    return dw, partial.sum(0).to(gates.dtype)
