"""What was trained, without what only training needs."""

import torch
from torch import nn

from hubfast.tuning.methods.lora import LowRank
from hubfast.tuning.methods.stoch_norm import StochNorm, plain_norm
from hubfast.tuning.methods.zoo import ZooMethod
from hubfast.tuning.samples import SampleDataset


def finished(built: nn.Module, samples: SampleDataset, batch_size: int) -> nn.Module:
    """The module to use.

    Zoo-Tuning is settled and folded, StochNorm is plain normalisation again, and LoRA's updates
    are in the weights.
    """
    if isinstance(built, ZooMethod):
        parts = torch.arange(len(samples), device="cpu")
        parts = parts.split(max(2, batch_size))  # one image has no variance
        built.settle(samples.batch(part.tolist()) for part in parts if len(part) > 1)
        return built.folded()
    if isinstance(built, LowRank):
        return built.merged()
    return plain_norm(built) if any(isinstance(m, StochNorm) for m in built.modules()) else built
