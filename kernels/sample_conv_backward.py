"""Gradients of the convolution with a kernel of its own for each sample.

Spec: `reference.sample_conv_backward`. That of x is the forward's kernel. That of the weights is,
for each sample, a product of the output's gradient and of the patches of x, summed over pixels: one
program per tile of output channels and of input channels of all taps, which may span several taps.
"""

import torch
import triton
import triton.language as tl
from hubfast.kernels.pointwise import is_product, multiply_into
from hubfast.kernels.precision import precision
from hubfast.kernels.sample_conv import input_gradient_into
from hubfast.kernels.taps import OUTSIDE, check_offsets, inside
from hubfast.kernels.tiles import Product, Tile, choose
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like


@triton.jit
def _weight_gradient(
    grad_ptr,
    x_ptr,
    dw_ptr,
    channels,
    out_channels,
    x_size,
    y_size,
    kernel,  # height and width
    geometry,
    grad_strides,  # (b, o, h, w)
    x_strides,  # (b, c, h, w)
    w_strides,  # (b, o, c, h, w)
    PRECISION: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    patch = kernel[0] * kernel[1] * channels
    tiles = tl.cdiv(patch, COLUMNS)
    program, n = tl.program_id(0), tl.arange(0, COLUMNS)
    n += program % tiles * COLUMNS
    program //= tiles
    tiles = tl.cdiv(out_channels, OUT)
    o, b = program % tiles * OUT + tl.arange(0, OUT), (program // tiles).to(tl.int64)
    tap, c = n // channels, n % channels
    i, j = tap // kernel[1], tap % kernel[1]
    up = i * geometry.dilation[0] - geometry.padding[0]
    left = j * geometry.dilation[1] - geometry.padding[1]
    grad_ptr += b * grad_strides[0] + (o * grad_strides[1])[:, None]
    x_ptr += b * x_strides[0]
    x_ptr += (up * x_strides[2] + left * x_strides[3] + c * x_strides[1])[None, :]
    o_mask, n_mask = (o < out_channels)[:, None], n < patch
    up = tl.where(n_mask, up, OUTSIDE)[None, :]
    row, column = tl.arange(0, PIXELS) // y_size[1], tl.arange(0, PIXELS) % y_size[1]
    total = tl.zeros([OUT, COLUMNS], tl.float32)
    for _ in range(tl.cdiv(y_size[0] * y_size[1], PIXELS)):
        exists = row < y_size[0]
        offset = row * grad_strides[2] + column * grad_strides[3]
        grad = tl.load(grad_ptr + offset[None, :], mask=o_mask & exists[None, :], other=0.0)
        h, w = row * geometry.stride[0], column * geometry.stride[1]
        x_mask = inside(h[:, None] + up, w[:, None] + left[None, :], x_size) & exists[:, None]
        offset = h * x_strides[2] + w * x_strides[3]
        x = tl.load(x_ptr + offset[:, None], mask=x_mask, other=0.0)
        total = tl.dot(grad, x, total, input_precision=PRECISION)
        row, column = row + PIXELS // y_size[1], column + PIXELS % y_size[1]
        over = column >= y_size[1]
        row, column = tl.where(over, row + 1, row), tl.where(over, column - y_size[1], column)
    dw_ptr += b * w_strides[0] + (o * w_strides[1])[:, None]
    dw_ptr += (c * w_strides[2] + i * w_strides[3] + j * w_strides[4])[None, :]
    tl.store(dw_ptr, total.to(dw_ptr.dtype.element_ty), mask=o_mask & n_mask[None, :])


def sample_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, *, input_grad: bool = True
) -> tuple[Tensor, Tensor]:
    """`reference.sample_conv_backward`; the gradient of x is empty without `input_grad`."""
    dx = empty_like(x, x.shape[1], tuple(x.shape[2:])) if input_grad else x.new_empty(0)
    dw = torch.empty_like(weight)
    if input_grad:
        input_gradient_into(grad, weight, dx, geometry)
    weight_gradient_into(grad, x, dw, geometry)
    return dx, dw


def weight_gradient_into(
    grad: Tensor, x: Tensor, dw: Tensor, geometry: Geometry, *, tile: Tile | None = None
) -> None:
    """Writes every element of `dw` `(B, O, I, h, w)`, which may be any view.

    The kernel's tile is chosen by shape unless given.
    """
    if dw.numel() == 0:
        return
    if is_product(x, grad, dw, geometry) and multiply_into(
        dw[..., 0, 0], grad.flatten(2), x.flatten(2).mT
    ):
        return
    if grad.numel() == 0:
        dw.zero_()
        return
    check_offsets(grad=grad, x=x, dw=dw)
    product = weight_product(grad, dw)
    tile = tile or choose("weight_gradient", product, grad, x)
    _weight_gradient[(product.programs(tile),)](
        grad,
        x,
        dw,
        dw.shape[2],
        dw.shape[1],
        tuple(x.shape[2:]),
        tuple(grad.shape[2:]),
        tuple(dw.shape[3:]),
        geometry,
        grad.stride(),
        x.stride(),
        dw.stride(),
        PRECISION=precision(dw.dtype),
        PIXELS=tile.depth,
        OUT=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def weight_product(grad: Tensor, dw: Tensor) -> Product:
    """What the kernel multiplies."""
    pixels = grad.shape[2] * grad.shape[3]
    patch = dw[0, 0].numel()
    return Product(len(dw), dw.shape[1], patch, pixels, 1, dw.element_size())
