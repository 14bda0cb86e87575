"""Tensors as callers may hand them in, in any memory order, and how exact a kernel must be."""

import torch
from hypothesis import settings
from torch import Tensor
from torch.nn.functional import pad

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.float16)
drawn = settings(derandomize=True, deadline=None, max_examples=40)
ORDERS = ("contiguous", "reversed", "swapped", "cropped", "every other", "expanded")


def laid_out(values: Tensor, order: str) -> Tensor:
    """The values in another memory order; where samples are expanded, all are the first.

    Args:
        values: `(B, ...)`.
        order: `"reversed"` has the channels, dimension 1, side by side: channels last, for images.
            `"swapped"` turns the last two dimensions around. `"cropped"` and `"every other"` are
            views of larger memory. `"expanded"` has one sample in memory.
    """
    if order == "contiguous" or not values.numel():
        return values.contiguous()
    if order == "reversed":
        channels = 1 if values.ndim > 2 else 0
        return values.movedim(channels, -1).contiguous().movedim(-1, channels)
    if order == "swapped":
        return values.mT.contiguous().mT
    if order == "cropped":
        return pad(values, (1, 2))[..., 1:-2]
    if order == "every other":
        return values.repeat_interleave(2, dim=-1)[..., ::2]
    if order == "expanded":
        return values[:1].contiguous().expand_as(values)
    raise ValueError(f"order must be one of {ORDERS}, got {order!r}")


def normal(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Normal values of float64 near tenths, a few of them equal; float16 holds them exactly."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (2 * torch.randn(shape, generator=generator)).round(decimals=1).half().double().to(DEVICE)
        for shape in shapes
    ]


def within_rounding(found: Tensor, exact: Tensor, summed: Tensor | float) -> None:
    """Asserts what one rounding of the result and those of sums in float32 allow.

    Args:
        found: What a kernel gives.
        exact: The same in float64.
        summed: The same of absolute values: what the sums may lose is in proportion to it.
    """
    assert found.shape == exact.shape
    limit = torch.finfo(found.dtype).eps * exact.abs() + 4e-6 * summed + 1e-7
    assert ((found.double() - exact).abs() <= limit).all()
