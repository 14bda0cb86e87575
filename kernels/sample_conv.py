"""Convolution with a kernel of its own for each sample, as implicit matrix products.

Spec: `reference.sample_conv`. A 1x1 convolution in half precision is a batched product of torch's.
Others gather patches tap by tap: no unfolded copy exists. Forward and the gradient of x are one
kernel, which differs in where a tap reads. One loop goes through taps and channels, so that loads
stay ahead of the products from the first to the last. Programs of a sample are launched together:
its weights stay in the L2 cache. Tensors come with their strides; channels that are next to each
other in memory, in x and in the weights, load fastest.
"""

import triton
import triton.language as tl
from hubfast.kernels.pointwise import is_product, multiply_into
from hubfast.kernels.precision import precision
from hubfast.kernels.taps import OUTSIDE, Cycle, check_offsets, following, inside, place, reach
from hubfast.kernels.tiles import Product, Tile, choose
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, empty_like


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
    cycles,  # of height and width
    x_strides,  # (b, c, h, w)
    w_strides,  # (b, c, o, h, w)
    y_strides,  # (b, o, h, w)
    GRADIENT: tl.constexpr,  # x is the output's gradient, y the input's
    PRECISION: tl.constexpr,
    PIXELS: tl.constexpr,
    OUT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    b, top, left, o, u, v = place(out_channels, y_size, geometry.stride, GRADIENT, PIXELS, OUT)
    row, h, down, first_h, every_h, taps_h = reach(
        u, top, kernel[0], geometry, 0, cycles[0], GRADIENT
    )
    column, w, along, first_w, every_w, taps_w = reach(
        v, left, kernel[1], geometry, 1, cycles[1], GRADIENT
    )
    exists = (row < y_size[0]) & (column < y_size[1])
    c, o_mask = tl.arange(0, CHANNELS), (o < out_channels)[None, :]
    x_ptr += b * x_strides[0] + (h * x_strides[2] + w * x_strides[3])[:, None]
    x_ptr += (c * x_strides[1])[None, :]
    w_ptr += b * w_strides[0] + first_h * w_strides[3] + first_w * w_strides[4]
    w_ptr += (c * w_strides[1])[:, None] + (o * w_strides[2])[None, :]
    h = tl.where(exists, h, OUTSIDE)
    total = tl.zeros([PIXELS, OUT], tl.float32)
    i, j, start = 0, 0, 0
    for _ in range(taps_h * taps_w * tl.cdiv(channels, CHANNELS)):
        within = c < channels - start
        x_mask = inside(h + i * down, w + j * along, x_size)[:, None] & within[None, :]
        offset = i * down * x_strides[2] + j * along * x_strides[3] + start * x_strides[1]
        x = tl.load(x_ptr + offset, mask=x_mask, other=0.0)
        offset = i * every_h * w_strides[3] + j * every_w * w_strides[4] + start * w_strides[1]
        weight = tl.load(w_ptr + offset, mask=within[:, None] & o_mask, other=0.0)
        total = tl.dot(x, weight, total, input_precision=PRECISION)
        i, j, start = following(i, j, start, taps_w, channels, CHANNELS)
    y_ptr += b * y_strides[0] + (row * y_strides[2] + column * y_strides[3])[:, None]
    y_ptr += (o * y_strides[1])[None, :]
    tl.store(y_ptr, total.to(y_ptr.dtype.element_ty), mask=exists[:, None] & o_mask)


def sample_conv(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """`reference.sample_conv` for CUDA tensors, two spatial dimensions and one group."""
    size = geometry.output_size(tuple(x.shape[2:]), tuple(weight.shape[3:]))
    y = empty_like(x, weight.shape[1], size)
    convolve_into(x, weight, y, geometry)
    return y


def convolve_into(
    x: Tensor, weight: Tensor, y: Tensor, geometry: Geometry, *, tile: Tile | None = None
) -> None:
    """Writes every element of `y` `(B, O, h, w)`, which may be any view.

    The kernel's tile is chosen by shape unless given.
    """
    if is_product(x, y, weight, geometry) and multiply_into(
        y.flatten(2), weight[..., 0, 0], x.flatten(2)
    ):
        return
    _launch(x, weight.transpose(1, 2), y, geometry, tile, gradient=False)


def input_gradient_into(
    grad: Tensor, weight: Tensor, dx: Tensor, geometry: Geometry, *, tile: Tile | None = None
) -> None:
    """Writes every element of `dx` `(B, I, h, w)`, which may be any view; zeros that none reach.

    The kernel's tile is chosen by shape unless given.
    """
    if is_product(grad, dx, weight, geometry) and multiply_into(
        dx.flatten(2), weight[..., 0, 0].mT, grad.flatten(2)
    ):
        return
    _launch(grad, weight, dx, geometry, tile, gradient=True)


def _launch(
    x: Tensor, weight: Tensor, y: Tensor, geometry: Geometry, tile: Tile | None, *, gradient: bool
) -> None:
    """Launches `_convolve`; `weight` is (B, summed channels, produced channels, h, w)."""
    if y.numel() == 0:
        return
    check_offsets(x=x, weight=weight, y=y)
    product = convolve_product(weight, y, geometry.stride if gradient else (1, 1))
    tile = tile or choose("convolve", product, x)
    _convolve[(product.programs(tile),)](
        x,
        weight,
        y,
        *weight.shape[1:3],
        tuple(x.shape[2:]),
        tuple(y.shape[2:]),
        tuple(weight.shape[3:]),
        geometry,
        tuple(map(Cycle.of, geometry.stride, geometry.dilation)),
        x.stride(),
        weight.stride(),
        y.stride(),
        GRADIENT=gradient,
        PRECISION=precision(y.dtype),
        PIXELS=tile.rows,
        OUT=tile.columns,
        CHANNELS=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def convolve_product(weight: Tensor, y: Tensor, classes: tuple[int, ...] = (1, 1)) -> Product:
    """What the kernel multiplies.

    Args:
        weight: `(B, summed channels, produced channels, h, w)`.
        y: The result.
        classes: Of its pixels, by dimension: the stride in a gradient of the input.
    """
    rows = triton.cdiv(y.shape[2], classes[0]) * triton.cdiv(y.shape[3], classes[1])
    _, channels, out_channels, *kernel = weight.shape
    n_classes = classes[0] * classes[1]
    parts = triton.cdiv(kernel[0] * kernel[1], n_classes)
    return Product(len(y) * n_classes, rows, out_channels, channels, parts, y.element_size())
