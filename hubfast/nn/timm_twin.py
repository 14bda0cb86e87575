"""Whether timm would build a module again, and with which arguments."""

from typing import Any

import torch
from torch import nn


def timm_recipe(module: nn.Module, size: tuple[int, int] | None = None) -> dict[str, Any] | None:
    """Arguments with which `timm.create_model` builds a module like this one; None if none do.

    The module timm builds, its twin, must have weights of the same names and shapes. In what else
    they must agree depends on what it is built for:

    - With `size`, inference: in eval mode they compute the same from the same weights.
    - Without, training as well: they print the same layers, dropout included. Nothing runs, and
      no weights are made.

    Args:
        module: Must be in eval mode on the CPU if `size` is given.
        size: Height and width of the images on which outputs are compared.
    """
    config = getattr(module, "pretrained_cfg", None)
    name = config.get("architecture") if isinstance(config, dict) else None
    if not name:
        return None
    import timm  # slow to import

    if not timm.is_model(name):
        return None
    recipe = {"model_name": name, "num_classes": getattr(module, "num_classes", None)}
    if size is None:
        with torch.device("meta"):
            twin = timm.create_model(pretrained=False, **recipe)
        return recipe if _same_shapes(twin, module) and str(twin) == str(module) else None
    with torch.random.fork_rng(devices=[]):
        twin = timm.create_model(pretrained=False, **recipe).eval()
        images = torch.rand(1, 3, *size)
    return recipe if _same_shapes(twin, module) and _computes_same(twin, module, images) else None


def _same_shapes(twin: nn.Module, module: nn.Module) -> bool:
    first, second = (
        {name: x.shape for name, x in each.state_dict().items()} for each in (twin, module)
    )
    return first == second


@torch.inference_mode()
def _computes_same(twin: nn.Module, module: nn.Module, images: torch.Tensor) -> bool:
    twin.load_state_dict(module.state_dict())
    return torch.allclose(twin(images), module(images), rtol=1e-3, atol=1e-4)
