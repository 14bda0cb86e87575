"""Normalisation of images as a module, from what the models say they were trained with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """`(images - mean) / std`, channel by channel.

    Args:
        mean: One number per channel of the images.
        std: One number per channel, as many as `mean` has.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must be of equal length, got {mean} and {std}")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` -> the same."""
        return normalized(images, self.mean, self.std)


def normalized(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """`(images - mean) / std` of images `(B, C, H, W)`; mean and std are `(C, 1, 1)`."""
    return (images - mean) / std


def normalization_of(
    models: Sequence[nn.Module], mean: Sequence[float] | None, std: Sequence[float] | None
) -> nn.Module:
    """The models' normalisation: as given, else as their `pretrained_cfg` says, else none.

    Raises:
        ValueError: The models were trained with different ones, or only one of the two is given.
    """
    if (mean is None) != (std is None):
        raise ValueError("mean and std must be given together")
    if mean is not None and std is not None:
        return Normalize(mean, std)
    configs: list[dict[str, Any]] = [getattr(m, "pretrained_cfg", None) or {} for m in models]
    found = {(tuple(c.get("mean", ())), tuple(c.get("std", ()))) for c in configs}
    if len(found) > 1:
        raise ValueError(f"mean and std must be given: the models have different ones, {found}")
    means, stds = found.pop()
    return Normalize(means, stds) if means else nn.Identity()
