"""Tiles of the convolution kernels, chosen by shape.

For each sample a convolution is a product of matrices, forward and in both gradients. What was
measured on a GPU counts first (`hubfast.ops.choices`, tables `"convolve"` and
`"weight_gradient"`). Elsewhere the tile is taken that lets the busiest multiprocessor read least:
by arithmetic that is what limits them all. In half precision every candidate fits into
the registers, without spills, and into the shared memory of compute capabilities 8.0, 9.0 and 10.0.
Maps whose channels
are not next to each other in memory are not copied, and take one small tile.
"""

import functools
import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hubfast.ops.choices import choices

Kernel = Literal["convolve", "weight_gradient"]
START = 16_384  # elements that could be read while a program begins and ends, by arithmetic
MULTIPROCESSORS = 132  # an H100's, where there is no GPU
LEAST = 16  # of what tensor cores take


class Tile(NamedTuple):
    """What one program computes, `rows x columns`, and how it goes through the depth."""

    rows: int
    columns: int
    depth: int  # of one step, in elements of two bytes; half as many of four
    warps: int
    stages: int  # steps whose loads are in flight


class Product(NamedTuple):
    """For each sample `rows x (depth parts)` by `(depth parts) x columns`.

    - `"convolve"`: rows are the pixels of the result, columns its channels, the depth the source's
      channels, the parts the taps. In the gradient of a strided convolution's input each class of
      pixels (see `hubfast.kernels.taps`) counts as a sample, and the parts are the taps by class.
    - `"weight_gradient"`: rows are output channels, columns input channels of all taps, the depth
      the output's pixels.
    """

    samples: int
    rows: int
    columns: int
    depth: int
    parts: int
    bytes: int  # per element

    @property
    def key(self) -> str:
        """The name in a table of measured choices, such as `"48x196x256x256x9x2"`."""
        return "x".join(map(str, self))

    def programs(self, tile: Tile) -> int:
        """How many programs compute them, one per tile of a sample's result."""
        rows, columns = math.ceil(self.rows / tile.rows), math.ceil(self.columns / tile.columns)
        return self.samples * rows * columns


CANDIDATES: dict[Kernel, tuple[Tile, ...]] = {
    "convolve": (
        Tile(64, 64, 64, 4, 4),
        Tile(64, 128, 64, 4, 4),
        Tile(128, 64, 64, 4, 3),
        Tile(128, 128, 64, 8, 3),
    ),
    "weight_gradient": (
        Tile(64, 64, 64, 4, 4),
        Tile(64, 128, 64, 4, 3),
        Tile(128, 128, 64, 8, 3),
        Tile(128, 256, 64, 8, 3),
    ),
}
SCATTERED = Tile(64, 64, 32, 4, 3)  # elements that are loaded one by one take registers


def choose(kernel: Kernel, product: Product, *read: Tensor) -> Tile:
    """The tile for these products, without room that they cannot fill.

    Args:
        kernel: Which of the kernels computes them.
        product: Their sizes.
        read: The maps `(B, C, h, w)` that it reads, on the device that computes.

    Raises:
        ValueError: The device's table has something else than a tile for them.
    """
    if any(map(scattered, read)):
        return fitted(SCATTERED, product)
    device = read[0].device
    measured = choices(device, kernel).get(product.key)
    if measured is None:
        return least_read(kernel, product, multiprocessors(device))
    if not isinstance(measured, list) or [type(n) for n in measured] != [int] * len(Tile._fields):
        raise ValueError(f"{kernel} {product.key} must be a tile's five integers, got {measured}")
    return fitted(Tile(*measured), product)


def scattered(x: Tensor) -> bool:
    """Whether a map's channels do not lie side by side in pieces of 16 bytes."""
    return x.stride(1) != 1 or x.shape[1] * x.element_size() % 16 != 0


@functools.cache
def least_read(kernel: Kernel, product: Product, multiprocessors: int) -> Tile:
    """The candidate with which the busiest multiprocessor reads least."""
    tiles = [fitted(tile, product) for tile in CANDIDATES[kernel]]
    return min(tiles, key=lambda tile: most_read(tile, product, multiprocessors))


def fitted(tile: Tile, product: Product) -> Tile:
    """The tile as it is launched: of elements of this size, and no larger than the product."""
    most = (tile.rows, tile.columns, tile.depth * 2 // max(2, product.bytes))
    sizes = (product.rows, product.columns, product.depth)
    rows, columns, depth = map(power_of_two, sizes, most)
    return tile._replace(rows=rows, columns=columns, depth=depth)


def power_of_two(size: int, most: int) -> int:
    """The least power of two that holds `size`, within what tensor cores take and `most`."""
    return min(most, max(LEAST, 1 << max(size - 1, 0).bit_length()))


def most_read(tile: Tile, product: Product, multiprocessors: int) -> int:
    """Elements that the busiest multiprocessor reads, and what it could while programs start."""
    side = min(tile.rows, product.rows) + min(tile.columns, product.columns)
    steps = product.parts * math.ceil(product.depth / tile.depth)
    waves = math.ceil(product.programs(tile) / multiprocessors)
    return waves * (steps * tile.depth * side + START)


def multiprocessors(device: torch.device) -> int:
    """How many there are; an H100's number where there is no GPU."""
    if device.type != "cuda":
        return MULTIPROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count
