"""StochNorm: in training, channels are normalised by the batch or by running statistics at random.

Kou, You, Long, Wang: "Stochastic Normalization", NeurIPS 2020.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class StochNorm(nn.Module):
    """A BatchNorm layer whose channels take running statistics with probability p in training.

    In eval mode it is the layer that it wraps.

    Args:
        norm: BatchNorm of any dimension, timm's BatchNormAct2d included; used, not copied.
        p: Probability, for every channel and step anew.
    """

    def __init__(self, norm: _BatchNorm, p: float = 0.5):
        super().__init__()
        self.norm, self.p = norm, p
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not self.training:
            return norm(x)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        factor = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
        affine = norm.weight, norm.bias
        batch = F.batch_norm(
            x, norm.running_mean, norm.running_var, *affine, True, factor, norm.eps
        )
        mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        running = F.batch_norm(x, mean, variance, *affine, False, 0.0, norm.eps)
        shape = (-1, *[1] * (x.ndim - 2))
        chosen = (torch.rand(x.shape[1], device=x.device) < self.p).view(shape)
        out = torch.where(chosen, running, batch)
        for name in ("drop", "act"):  # of timm's BatchNormAct2d
            if (after := getattr(norm, name, None)) is not None:
                out = after(out)
        return out


def stoch_norm(model: nn.Module, p: float = 0.5) -> nn.Module:
    """A copy of `model` with StochNorm for every BatchNorm that keeps running statistics.

    Raises:
        ValueError: p is no probability, or there is no such layer.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in 0..1, got {p}")
    model = copy.deepcopy(model)
    places = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None and name
    ]
    if not places:
        raise ValueError("model must have BatchNorm layers with running statistics, got none")
    for name in places:
        norm = model.get_submodule(name)
        assert isinstance(norm, _BatchNorm)
        model.set_submodule(name, StochNorm(norm, p))
    return model


def plain_norm(model: nn.Module) -> nn.Module:
    """The inverse of `stoch_norm`: a copy with the BatchNorm layers as they were."""
    model = copy.deepcopy(model)
    places = [name for name, module in model.named_modules() if isinstance(module, StochNorm)]
    for name in places:
        model.set_submodule(name, model.get_submodule(name).norm)  # type: ignore[arg-type]
    return model
