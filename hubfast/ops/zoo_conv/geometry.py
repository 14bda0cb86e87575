"""What the convolutions here share: their geometry, checked arguments, and the memory order."""

from typing import NamedTuple

import torch
from torch import Tensor


class Geometry(NamedTuple):
    """What torch's convolutions take: one integer per spatial dimension, and the groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @classmethod
    def of(
        cls, stride: list[int], padding: list[int], dilation: list[int], groups: int
    ) -> "Geometry":
        """The geometry that a registered op gets as lists."""
        return cls(tuple(stride), tuple(padding), tuple(dilation), groups)

    def output_size(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial size of the result."""
        sizes = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on for the device of `x`; torch's own question is not for every device.

    torch.compile of torch 2.11 cannot trace `torch.amp.is_autocast_available`.
    """
    return x.device.type in ("cpu", "cuda", "mps", "xpu") and torch.is_autocast_enabled(
        x.device.type
    )


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """torch's convolution in as many dimensions as `x` `(B, I, ...)` has."""
    nothing = (0,) * len(geometry.stride)
    stride, padding, dilation, groups = geometry
    return torch.convolution(x, weight, None, stride, padding, dilation, False, nothing, groups)


def convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, *, input_grad: bool = True
) -> tuple[Tensor, Tensor]:
    """Gradients of a plain convolution; that of `x` is None without `input_grad`."""
    nothing = [0] * len(geometry.stride)
    stride, padding, dilation, groups = geometry
    wanted = [input_grad, True, False]
    dx, dw, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, nothing, groups, wanted
    )
    return dx, dw


def as_geometry(
    x: Tensor,
    stride: tuple[int, ...] | None,
    padding: tuple[int, ...] | None,
    dilation: tuple[int, ...] | None,
    groups: int,
) -> Geometry:
    """The geometry of a convolution of `x`, with torch's defaults, checked.

    Raises:
        ValueError: An `x` without spatial dimensions, or another number of integers than it has.
    """
    dimensions = x.ndim - 2
    if dimensions < 1:
        raise ValueError(f"x must be (B, I, ...) with spatial dimensions, got {tuple(x.shape)}")
    ones = (1,) * dimensions
    geometry = Geometry(stride or ones, padding or (0,) * dimensions, dilation or ones, groups)
    for name, value in zip(("stride", "padding", "dilation"), geometry[:3], strict=True):
        if len(value) != dimensions:
            raise ValueError(f"{name} must have {dimensions} integers for this x, got {value}")
    return geometry


def check_weight(name: str, x: Tensor, weight: Tensor, groups: int) -> None:
    """Checks that `weight` `(any, O, I / groups, ...)` fits `x` `(B, I, ...)`.

    Raises:
        ValueError: It does not fit; the message calls it `name`.
    """
    fits = weight.ndim == x.ndim + 1 and weight.shape[2] * groups == x.shape[1]
    if not fits or weight.shape[1] % groups:
        raise ValueError(
            f"{name} must be (., O, I / groups, ...) for x (B, I, ...) and {groups} groups, "
            f"got {tuple(weight.shape)} for {tuple(x.shape)}"
        )


def kernel_fits(x: Tensor, geometry: Geometry) -> bool:
    """Whether the Triton kernels take this convolution."""
    return x.ndim == 4 and geometry.groups == 1 and x.shape[1:].numel() < 2**31


def channels_last(x: Tensor) -> bool:
    """Whether the channels of `x` `(B, C, ...)` are next to each other in memory."""
    return x.ndim > 2 and x.shape[1] > 1 and x.stride(1) == 1


def empty_like(x: Tensor, channels: int, size: tuple[int, ...]) -> Tensor:
    """Room for `(B, channels, *size)` in the memory order of `x`."""
    if channels_last(x):
        return x.new_empty(x.shape[0], *size, channels).movedim(-1, 1)
    return x.new_empty(x.shape[0], channels, *size)


def pointwise(kernel: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether each pixel of the result is one matrix product."""
    return geometry.groups == 1 and set(kernel) <= {1} and set(geometry.padding) <= {0}


def pixels(x: Tensor) -> Tensor:
    """`(B, C, ...)` as `(B, C, pixels)`, without a copy where memory allows it."""
    if channels_last(x):
        return x.movedim(1, -1).flatten(1, -2).mT
    return x.flatten(2)


def memory_order(x: Tensor) -> tuple[int, ...]:
    """The order in which the dimensions of `x` lie in memory, the first one first in any case.

    Where `x` has gaps, or its first dimension is not the outermost, it is the order of a
    contiguous tensor.
    """
    order = (0, *sorted(range(1, x.ndim), key=x.stride().__getitem__, reverse=True))
    return order if x.permute(order).is_contiguous() else tuple(range(x.ndim))


def in_order(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """`x` with its dimensions in another order, contiguous; a copy only where it must be one."""
    return x.permute(order).contiguous()


def out_of_order(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """Undoes `in_order`, as a view."""
    return x.permute([order.index(d) for d in range(len(order))])


def empty_in_order(x: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Room for `count` entries like those of `x`, in the memory order of `x`."""
    order = memory_order(x)
    sizes = [x.shape[d] for d in order[1:]]
    return out_of_order(x.new_empty(count, *sizes, dtype=dtype), order)
