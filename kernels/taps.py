"""Where a convolution's tap reads: the arithmetic that the convolution kernels share.

Sizes, strides and geometries come as tuples. Triton compiles for what it knows of each of their
integers (that it is 1, that 16 divides it) as it does for integers that come alone.
"""

import triton
import triton.language as tl


@triton.jit
def pixels_from(start, size, COUNT: tl.constexpr):
    """COUNT pixels of a map in row-major order: their rows, columns and which of them exist.

    Args:
        start: Index of the first pixel.
        size: Height and width of the map.
        COUNT: Number of pixels, a power of two.
    """
    height, width = size
    pixel = start + tl.arange(0, COUNT)
    return pixel // width, pixel % width, pixel < height * width


@triton.jit
def tap_source(row, column, mask, tap_h, tap_w, geometry, size, strides, GRADIENT: tl.constexpr):
    """Offsets of the source pixels that a tap reads, and which of these pixels exist.

    Args:
        row: Rows of the pixels of the result.
        column: Columns of the pixels of the result.
        mask: Which pixels of the result exist.
        tap_h: Row of the tap in the kernel.
        tap_w: Column of the tap in the kernel.
        geometry: A `Geometry` of two spatial dimensions.
        size: Height and width of the source.
        strides: Strides of the source, (b, c, h, w).
        GRADIENT: Whether the source is the output's gradient, and the result the input's.
    """
    stride_h, stride_w = geometry.stride
    pad_h, pad_w = geometry.padding
    dilation_h, dilation_w = geometry.dilation
    height, width = size
    if GRADIENT:
        h = row + pad_h - tap_h * dilation_h
        w = column + pad_w - tap_w * dilation_w
        mask = mask & (h >= 0) & (w >= 0) & (h % stride_h == 0) & (w % stride_w == 0)
        h, w = h // stride_h, w // stride_w
    else:
        h = row * stride_h - pad_h + tap_h * dilation_h
        w = column * stride_w - pad_w + tap_w * dilation_w
        mask = mask & (h >= 0) & (w >= 0)
    return h * strides[2] + w * strides[3], mask & (h < height) & (w < width)
