"""The images that a timm module takes: as the module was built, not as its weights were made."""

from typing import Any

from torch import nn

from hubfast.utils.extras import slow_import


def image_config(module: nn.Module) -> dict[str, Any]:
    """timm's data configuration of `module`, with the size and channels that it was built for.

    `pretrained_cfg` describes the published weights. A model of a fixed size, such as a ViT made
    with `img_size=64`, keeps that size in its patch embedding, and its first convolution has
    `in_chans` channels. For one channel, mean and std are the averages over the three.
    """
    config = dict(slow_import("timm.data").resolve_model_data_config(module))
    channels, *size = config["input_size"]
    known: Any = getattr(module, "pretrained_cfg", {})
    if known.get("fixed_input_size"):
        size = list(_built_size(module) or size)
    built = _channels(module, known.get("first_conv")) or channels
    config["input_size"] = (built, *size)
    if built == 1:
        for key in ("mean", "std"):
            config[key] = (sum(config[key]) / len(config[key]),)
    return config


def _built_size(module: nn.Module) -> tuple[int, int] | None:
    """The attribute `img_size` of the outermost part that has one."""
    for part in module.modules():
        size: Any = vars(part).get("img_size")
        if isinstance(size, int):
            return size, size
        if isinstance(size, tuple | list) and len(size) == 2:
            return int(size[0]), int(size[1])
    return None


def _channels(module: nn.Module, first: Any) -> int | None:
    """Input channels of the first convolution, whose name timm's configuration has."""
    name = first[0] if isinstance(first, tuple | list) and first else first
    if isinstance(name, str) and name in {part for part, _ in module.named_modules()}:
        channels: Any = getattr(module.get_submodule(name), "in_channels", None)
        if isinstance(channels, int):
            return channels
    convolutions = (part for part in module.modules() if isinstance(part, nn.Conv2d))
    return next((part.in_channels for part in convolutions), None)
