"""Where a convolution's taps read: the arithmetic that the convolution kernels share.

Along each dimension pixels and taps are numbered so that the source of pixel `u` at tap `k` is
`base(u) + k * delta`. Forward, all taps reach every pixel. In the gradient of the input, whose
source is the gradient of the output, a tap reaches every `stride`-th pixel only. Pixels are
therefore taken in classes, one per remainder of their index by the stride: one class is reached by
the taps `first`, `first + every`, ... and by no others, so that no product is computed in vain.

Sizes, strides and geometries come as tuples. Triton compiles for what it knows of each of their
integers (that it is 1, that 16 divides it) as it does for integers that come alone.
"""

import math
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

OUTSIDE = tl.constexpr(-(1 << 30))  # a row that no map has, with room to add to it


class Cycle(NamedTuple):
    """How the taps of one dimension repeat that reach the same pixels of a strided input."""

    taps: int  # from one such tap to the next
    inverse: int  # of the dilation by this modulus, where both are freed of common factors

    @classmethod
    def of(cls, stride: int, dilation: int) -> "Cycle":
        """The cycle of a convolution's stride and dilation."""
        common = math.gcd(stride, dilation)
        return cls(stride // common, pow(dilation // common, -1, stride // common))


def check_offsets(**tensors: Tensor) -> None:
    """Checks that the kernels can count the elements of one sample in 32 bits.

    Raises:
        ValueError: One sample of a tensor spans 2^31 elements or more.
    """
    for name, x in tensors.items():
        last = sum((n - 1) * stride for n, stride in zip(x.shape[1:], x.stride()[1:], strict=True))
        if last >= 1 << 31:
            raise ValueError(
                f"one sample of {name} must span under 2^31 elements, got {last + 1} "
                f"for shape {tuple(x.shape)} and strides {x.stride()}"
            )


@triton.jit
def place(
    out_channels, size, stride, GRADIENT: tl.constexpr, PIXELS: tl.constexpr, OUT: tl.constexpr
):
    """What a program computes: sample, class of pixels, output channels, and pixels of the class.

    Programs are numbered along one dimension of the grid, which alone is not limited to 65,535:
    pixels first, then output channels, classes and samples.

    Args:
        out_channels: Number of channels of the result.
        size: Height and width of the result.
        stride: The convolution's, of height and width.
        GRADIENT: Whether the result is the input's gradient, whose pixels come in classes.
        PIXELS: Number of pixels of a tile.
        OUT: Number of channels of a tile.
    """
    program = tl.program_id(0)
    height, width = size
    top, left = 0, 0
    if GRADIENT:
        height, width = tl.cdiv(height, stride[0]), tl.cdiv(width, stride[1])
    tiles = tl.cdiv(height * width, PIXELS)
    pixel = program % tiles * PIXELS + tl.arange(0, PIXELS)
    program //= tiles
    tiles = tl.cdiv(out_channels, OUT)
    o = program % tiles * OUT + tl.arange(0, OUT)
    program //= tiles
    if GRADIENT:
        left, program = program % stride[1], program // stride[1]
        top, program = program % stride[0], program // stride[0]
    return program.to(tl.int64), top, left, o, pixel // width, pixel % width


@triton.jit
def reach(u, remainder, kernel, geometry, DIMENSION: tl.constexpr, cycle, GRADIENT: tl.constexpr):
    """Where taps read along one dimension, for the pixels `u` of one class.

    Args:
        u: Number of each pixel within its class; forward, its index.
        remainder: The class, which is the index of its pixel 0; 0 forward.
        kernel: Number of taps.
        geometry: A `Geometry` of two spatial dimensions.
        DIMENSION: 0 for height, 1 for width.
        cycle: The dimension's `Cycle`.
        GRADIENT: Whether the source is the output's gradient, and the result the input's.

    Returns:
        The pixels' indices in the result; their source at the first tap; by how much it moves
        from a tap to the next; and of the taps the first, the step and the number.
    """
    stride, padding = geometry.stride[DIMENSION], geometry.padding[DIMENSION]
    dilation = geometry.dilation[DIMENSION]
    if GRADIENT:
        common = stride // cycle.taps
        wanted = (remainder + padding) % stride
        first = (wanted // common * cycle.inverse) % cycle.taps
        count = tl.where(wanted % common == 0, tl.cdiv(kernel - first, cycle.taps), 0)
        base = u + (remainder + padding - first * dilation) // stride
        return u * stride + remainder, base, -(dilation // common), first, cycle.taps, count
    else:
        return u, u * stride - padding, dilation, 0, 1, kernel


@triton.jit
def inside(row, column, size):
    """Which of these pixels a map of this height and width has."""
    return (row.to(tl.uint32) < size[0]) & (column.to(tl.uint32) < size[1])


@triton.jit
def following(i, j, start, taps_w, channels, CHANNELS: tl.constexpr):
    """The step after tap `(i, j)` and a block of channels: its next block, else the next tap's."""
    start += CHANNELS
    over = start >= channels
    start = tl.where(over, 0, start)
    j = tl.where(over, j + 1, j)
    over = j >= taps_w
    return tl.where(over, i + 1, i), tl.where(over, 0, j), start
