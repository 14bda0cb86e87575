"""What was trained, without what only training needs."""

import torch
from torch import nn

from hubfast.tuning.images import ImageDataset
from hubfast.tuning.methods.stoch_norm import StochNorm, plain_norm
from hubfast.tuning.methods.zoo import ZooMethod


def finished(built: nn.Module, images: ImageDataset, batch_size: int) -> nn.Module:
    """The module to use: Zoo-Tuning settled and folded, StochNorm as plain normalisation."""
    if isinstance(built, ZooMethod):
        parts = torch.arange(len(images), device="cpu")
        parts = parts.split(max(2, batch_size))  # one image has no variance
        built.settle(images.batch(part.tolist()) for part in parts if len(part) > 1)
        return built.folded()
    return plain_norm(built) if any(isinstance(m, StochNorm) for m in built.modules()) else built
