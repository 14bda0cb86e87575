"""The convolutions of a network, and random inputs for them."""

from collections import Counter
from typing import Any, NamedTuple

import torch
from gpu.jobs import Sizes
from torch import Tensor, nn

Input = tuple[Tensor, ...]


class Shape(NamedTuple):
    """A square convolution without groups, padded so that stride 1 keeps the size."""

    inside: int
    out: int
    kernel: int
    stride: int
    side: int  # of the input

    @property
    def name(self) -> str:
        return f"{self.inside}-{self.out}-k{self.kernel}s{self.stride}-{self.side}px"

    @property
    def group(self) -> str:
        """The group of layers that it belongs to: stem, 1x1, 1x1-strided, 3x3, 3x3-strided."""
        if self.inside < 16:
            return "stem"
        return f"{self.kernel}x{self.kernel}" + ("-strided" if self.stride > 1 else "")

    @property
    def out_side(self) -> int:
        return (self.side + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1

    @property
    def how(self) -> dict[str, tuple[int, int]]:
        """What hubfast's ops take."""
        return {"stride": (self.stride,) * 2, "padding": (self.kernel // 2,) * 2}

    def flops(self, batch: int) -> int:
        """Of a forward pass; each gradient takes as many."""
        weights = self.inside * self.out * self.kernel**2
        return 2 * batch * weights * self.out_side**2


def convolutions(sizes: Sizes) -> dict[Shape, int]:
    """The convolutions of the network without groups, and how often each occurs."""
    import timm

    found: Counter[Shape] = Counter()

    def note(layer: nn.Module, given: Any, y: Tensor) -> None:
        conv: Any = layer
        if conv.groups == 1:
            side, stride = given[0].shape[2], conv.stride[0]
            found[
                Shape(conv.in_channels, conv.out_channels, conv.kernel_size[0], stride, side)
            ] += 1

    with torch.device("meta"):
        model = timm.create_model(sizes.network).eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note)
        model(torch.empty(1, 3, sizes.pixels, sizes.pixels))
    return dict(found)


def representatives(shapes: dict[Shape, int]) -> dict[str, Shape]:
    """Of each group the shape that the network has most of, by arithmetic."""
    found: dict[str, Shape] = {}
    for shape, count in shapes.items():
        best = found.get(shape.group)
        if best is None or count * shape.flops(1) > shapes[best] * best.flops(1):
            found[shape.group] = shape
    return found


def zoo_inputs(shape: Shape, sizes: Sizes, dtype: torch.dtype = torch.bfloat16) -> Input:
    """x and float32 weights of all models in channels last, gates of all samples."""
    x = torch.randn(sizes.batch, shape.inside, shape.side, shape.side, device="cuda", dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    scale = (shape.inside * shape.kernel**2) ** -0.5
    size = (sizes.models, shape.out, shape.kernel, shape.kernel, shape.inside)
    weights = (scale * torch.randn(size, device="cuda")).movedim(-1, 2)
    return x, weights, torch.rand(sizes.batch, sizes.models, device="cuda")


def gradient_of(shape: Shape, sizes: Sizes, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A random gradient of the result, in channels last."""
    size = (sizes.batch, shape.out, shape.out_side, shape.out_side)
    grad = torch.randn(size, device="cuda", dtype=dtype)
    return grad.contiguous(memory_format=torch.channels_last)
