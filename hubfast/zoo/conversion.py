"""M networks of one architecture become one network of Zoo-Tuning layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from hubfast.utils.moved import moved
from hubfast.zoo.base import Samples, ZooLayer
from hubfast.zoo.gate import Activation
from hubfast.zoo.layers import (
    Padding,
    ZooConv1d,
    ZooConv2d,
    ZooConv3d,
    ZooLinear,
)

__getattr__ = moved(
    "hubfast.zoo.conversion", {"Choices": "hubfast.zoo.conversion.ConversionOptions"}
)

Alignment = Literal["published", "spatial", "none"]
RunningStatistics = Literal["reset", "mean"]

_CONVOLUTIONS = {nn.Conv1d: ZooConv1d, nn.Conv2d: ZooConv2d, nn.Conv3d: ZooConv3d}
_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class ConversionOptions:
    """How layers are made; see `ZooTuning.from_models`."""

    align: Alignment
    gate: Activation | None
    lite: bool
    running_stats: RunningStatistics
    recompute: bool = True
    shares: Tensor | None = None  # (M,), of the largest; None: all alike


def convert(
    network: nn.Module, models: Sequence[nn.Module], options: ConversionOptions, kept: set[str]
) -> tuple[Samples, tuple[str, ...]]:
    """Replaces the layers of `network`, a copy of the first model, by Zoo-Tuning layers.

    Args:
        network: Changed in place.
        models: The M models; their parameters are only read.
        options: Say how gates, alignment and statistics are made.
        kept: Names of modules that stay as they are, such as a new head.

    Returns:
        What tells the layers how many samples there are; and the names of modules whose weight
        matrices could only be averaged: of a kind of their own, or read by the module around
        them without calling them.
    """
    # A module that is used twice has two names.
    found = network.named_modules(remove_duplicate=False)
    named = {name: module for name, module in found if not _within(name, kept)}
    closed = {name for name, module in named.items() if _reads_weights(module)}
    layers = {n: m for n, m in named.items() if _is_layer(m) and not _within(n, closed)}
    averaged = tuple(n for n, m in named.items() if n not in layers and _has_matrix(m))
    wide = _aligned(layers, options.align)
    normalised = any(isinstance(m, nn.modules.batchnorm._NormBase) for m in named.values())
    _average(network, models, set(layers) | kept, options)

    samples = Samples()
    made: dict[nn.Module, nn.Module] = {}
    for name, layer in layers.items():
        if layer not in made:
            activation = options.gate
            if activation is None:
                # A missing bias tells that BatchNorm follows, which absorbs the gates' sum.
                activation = "sigmoid" if normalised and layer.bias is None else "softmax"
            kind = {
                "align": name in wide,
                "gate": activation,
                "lite": options.lite,
                "recompute": options.recompute,
            }
            originals = [model.get_submodule(name) for model in models]
            made[layer] = _converted(originals, kind, samples, options.shares)
        network.set_submodule(name, made[layer])
    return samples, averaged


def _within(name: str, names: set[str]) -> bool:
    return any(name == n or name.startswith(f"{n}.") for n in names)


def _is_layer(module: nn.Module) -> bool:
    """Exactly torch's layers, and timm's that compute the same."""
    kind = type(module)
    if kind in _CONVOLUTIONS or kind is nn.Linear:
        return True
    return kind.__module__.startswith("timm.layers") and kind.__name__ in ("Conv2dSame", "Linear")


def _reads_weights(module: nn.Module) -> bool:
    """Whether its forward multiplies by its children's `weight` instead of calling them."""
    return isinstance(module, nn.MultiheadAttention) or type(module).__name__ in (
        "ShiftedWindowAttention",  # torchvision's Swin
        "ShiftedWindowAttentionV2",
    )


def _has_matrix(module: nn.Module) -> bool:
    own = module.named_parameters(recurse=False)
    return any(p.ndim > 1 and name.endswith("weight") for name, p in own)


def _aligned(layers: dict[str, nn.Module], align: Alignment) -> set[str]:
    """Which layers are aligned.

    Published, on ResNets: the first convolution and the 3x3 convolutions of the last two stages.
    The same without names: of convolutions with kernels larger than one, the first, and those
    whose width is in the upper half of the widths that the others have.
    """
    spatial = {
        name: layer
        for name, layer in layers.items()
        if isinstance(layer, _Convolution) and max(layer.kernel_size) > 1
    }
    if align == "none" or not spatial:
        return set()
    if align == "spatial":
        return set(spatial)
    first, *others = spatial
    widths = sorted({spatial[name].out_channels for name in others})
    upper = widths[len(widths) // 2 :]
    return {first} | {name for name in others if spatial[name].out_channels in upper}


@torch.no_grad()
def _average(
    network: nn.Module,
    models: Sequence[nn.Module],
    skipped: set[str],
    options: ConversionOptions,
) -> None:
    """Gives `network` the mean of all models' other parameters, and running statistics."""

    def mean(values: list[Tensor]) -> Tensor:
        stacked = torch.stack(values)
        if options.shares is None:
            return stacked.mean(0)
        return torch.tensordot((options.shares / options.shares.sum()).to(stacked), stacked, 1)

    for name, value in network.named_parameters():
        if not _within(name, skipped):
            value.copy_(mean([m.get_parameter(name) for m in models]))
    for name, module in network.named_modules():
        if not isinstance(module, nn.modules.batchnorm._NormBase) or _within(name, skipped):
            continue
        module.reset_running_stats()
        if options.running_stats == "mean":
            for kind in ("running_mean", "running_var"):
                value = getattr(module, kind)
                if value is not None:
                    value.copy_(mean([m.get_buffer(f"{name}.{kind}") for m in models]))


def _converted(
    originals: list[nn.Module], options: dict[str, Any], samples: Samples, shares: Tensor | None
) -> nn.Module:
    first = originals[0]
    models, bias = len(originals), first.bias is not None
    weight = cast(Tensor, first.weight)
    layer: ZooLayer
    with torch.device(weight.device):
        if isinstance(first, nn.Linear):
            shape = (first.in_features, first.out_features)
            layer = ZooLinear(models, *shape, bias, **options, samples=samples)
        else:
            layer = _converted_convolution(models, cast(_Convolution, first), options)
    if shares is not None:
        layer.gate.favour(shares)
    layer.to(weight.dtype).train(first.training)
    kernels = torch.cat([cast(Tensor, m.weight).detach() for m in originals])  # as they lie
    layer.weight.data = kernels.view(layer.weight.shape)
    if layer.bias is not None:
        layer.bias.data = torch.stack([cast(Tensor, m.bias).detach() for m in originals])
    return layer


def _converted_convolution(models: int, first: _Convolution, options: dict[str, Any]) -> ZooLayer:
    kind = next(zoo for plain, zoo in _CONVOLUTIONS.items() if isinstance(first, plain))
    padding: Padding = cast(Padding, first.padding)
    if type(first).__name__ == "Conv2dSame":
        padding = "tf_same"
    return kind(
        models,
        first.in_channels,
        first.out_channels,
        first.kernel_size,
        first.stride,
        padding,
        first.dilation,
        first.groups,
        first.bias is not None,
        first.padding_mode,
        **options,
    )
