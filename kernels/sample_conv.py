"""Convolution with a kernel of its own for each sample, as implicit matrix products.

Spec: `reference.sample_conv`. A 1x1 convolution is a batched product of torch's. Others gather
patches tap by tap: no unfolded copy exists. Forward and the gradient of x are one kernel, which
differs in where a tap reads. Programs of a sample are launched together, so that its weights stay
in the L2 cache. Tensors come with their strides; channels that are next to each other in memory,
in x and in the weights, load fastest.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.taps import pixels_from, tap_source
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like, pixels, pointwise

TILE = 64


@triton.jit
def _convolve(
    x_ptr,
    w_ptr,
    y_ptr,
    channels,  # summed over
    out_channels,
    x_size,
    y_size,
    kernel,  # height and width
    geometry,
    x_strides,  # (b, c, h, w)
    w_strides,  # (b, c, o, h, w)
    y_strides,  # (b, o, h, w)
    GRADIENT: tl.constexpr,  # x is the output's gradient, y the input's
    PRECISION: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    b = tl.program_id(2).to(tl.int64)
    row, column, pixel_mask = pixels_from(tl.program_id(0) * PIXELS, y_size, PIXELS)
    o = tl.program_id(1) * OUT + tl.arange(0, OUT)
    x_ptr += b * x_strides[0]
    w_ptr += b * w_strides[0]
    total = tl.zeros([PIXELS, OUT], tl.float32)
    for tap in range(kernel[0] * kernel[1]):
        tap_h, tap_w = tap // kernel[1], tap % kernel[1]
        x_offset, tap_mask = tap_source(
            row, column, pixel_mask, tap_h, tap_w, geometry, x_size, x_strides, GRADIENT
        )
        w_offset = tap_h * w_strides[3] + tap_w * w_strides[4]
        for start in range(0, channels, CHANNELS):
            c = start + tl.arange(0, CHANNELS)
            x_mask = tap_mask[:, None] & (c[None, :] < channels)
            x = tl.load(
                x_ptr + x_offset[:, None] + c[None, :] * x_strides[1], mask=x_mask, other=0.0
            )
            w_mask = (c[:, None] < channels) & (o[None, :] < out_channels)
            offset = c[:, None] * w_strides[1] + o[None, :] * w_strides[2] + w_offset
            weight = tl.load(w_ptr + offset, mask=w_mask, other=0.0)
            total = tl.dot(x, weight, total, input_precision=PRECISION)
    y_offset = row[:, None] * y_strides[2] + column[:, None] * y_strides[3]
    y_offset += o[None, :] * y_strides[1]
    y_mask = pixel_mask[:, None] & (o[None, :] < out_channels)
    tl.store(y_ptr + b * y_strides[0] + y_offset, total.to(y_ptr.dtype.element_ty), mask=y_mask)


def sample_conv(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """`reference.sample_conv` for CUDA tensors, two spatial dimensions and one group."""
    kernel = tuple(weight.shape[3:])
    size = geometry.output_size(tuple(x.shape[2:]), kernel)
    y = empty_like(x, weight.shape[1], size)
    if pointwise(kernel, geometry):
        every = x[:, :, :: geometry.stride[0], :: geometry.stride[1]]
        product = weight.flatten(2) @ pixels(every)
        return y.copy_(product.unflatten(2, size))
    launch_convolve(x, weight.transpose(1, 2), y, geometry, gradient=False)
    return y


def launch_convolve(
    x: Tensor, weight: Tensor, y: Tensor, geometry: Geometry, *, gradient: bool
) -> None:
    """Launches `_convolve`; `weight` is (B, summed channels, produced channels, h, w)."""
    _, channels, out_channels, *kernel = weight.shape
    out, deep = tile_of(out_channels), tile_of(channels, 32)
    grid = (triton.cdiv(y.shape[2] * y.shape[3], TILE), triton.cdiv(out_channels, out), len(x))
    _convolve[grid](
        x,
        weight,
        y,
        channels,
        out_channels,
        tuple(x.shape[2:]),
        tuple(y.shape[2:]),
        tuple(kernel),
        geometry,
        x.stride(),
        weight.stride(),
        y.stride(),
        GRADIENT=gradient,
        PRECISION=precision(),
        PIXELS=TILE,
        OUT=out,
        CHANNELS=deep,
    )


def tile_of(size: int, largest: int = TILE) -> int:
    """A power of two that tensor cores take, at least 16."""
    return min(largest, max(16, triton.next_power_of_2(size)))


def precision() -> str:
    """The precision of float32 products, as torch's convolutions are set."""
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
