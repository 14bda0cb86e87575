"""Independent forms of the public method, to measure Zoo-Tuning's layers against.

`Grouped` follows the description of Shu et al., ICML 2021, as public code runs it: weights of each
sample by einsum, one convolution with a group a sample, alignment as a grouped 1x1 convolution.
`CondConv` is timm's layer under the same gates, which knows no alignment.
"""

from typing import Any

import torch
from timm.layers import CondConv2d
from torch import Tensor, nn
from torch.nn.functional import conv2d

from hubfast.zoo import ZooConv2d, ZooTuning


class Grouped(nn.Module):
    """One convolution for the batch, a group a sample."""

    def __init__(self, layer: ZooConv2d):
        super().__init__()
        self.how = (layer.stride, layer.padding, layer.dilation)
        self.weight = nn.Parameter(layer.weights.detach().contiguous().clone())
        self.alignment = None
        if layer.alignment is not None:
            models, out, _ = layer.alignment.shape
            alignment = layer.alignment.detach().reshape(models * out, out, 1, 1)
            self.alignment = nn.Parameter(alignment.clone())
        self.gate = layer.gate

    def forward(self, x: Tensor) -> Tensor:
        gates, weight = self.gate(x), self.weight
        batch, channels, height, width = x.shape
        models, out, inside, *kernel = weight.shape
        if self.alignment is not None:
            image = weight.reshape(1, models * out, inside, -1)
            weight = conv2d(image, self.alignment, groups=models).view(weight.shape)
        weight = torch.einsum("be,eoijk->boijk", gates, weight)
        x = x.reshape(1, batch * channels, height, width)
        y = conv2d(x, weight.reshape(batch * out, inside, *kernel), None, *self.how, batch)
        return y.view(batch, out, *y.shape[-2:])


class CondConv(nn.Module):
    """timm's conditional convolution."""

    def __init__(self, layer: ZooConv2d):
        super().__init__()
        out, inside, *kernel = layer.kernel
        how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding[0]}
        self.layer = CondConv2d(inside, out, kernel[0], **how, bias=False, num_experts=layer.models)
        self.layer.weight.data = layer.weights.detach().flatten(1).clone()
        self.gate = layer.gate

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.gate(x))


def rival(zoo: ZooTuning, kind: type[Grouped] | type[CondConv]) -> nn.Module:
    """Puts `kind` in the place of every convolution of `zoo`."""
    for name, layer in zoo.zoo_layers().items():
        zoo.network.set_submodule(name, kind(layer))
    return zoo
