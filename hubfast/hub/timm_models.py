"""timm models: pretrained weights by name, or a local checkpoint, each with its own transform."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hubfast.hub import imagenet
from hubfast.hub.model import first_line
from hubfast.hub.network import Network
from hubfast.hub.preprocessing import TimmTransform
from hubfast.hub.reach import unreachable_host
from hubfast.optional import slow_import

FILES = ("model.safetensors", "pytorch_model.bin")  # of weights, in a Hugging Face repository
# Where training scripts put the weights in a checkpoint; the averaged ones first.
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")


def pretrained(name: str) -> Network:
    """timm's `name` with its published weights.

    Raises:
        RuntimeError: Unknown name, or the weights could not be fetched.
    """
    timm = slow_import("timm")

    if not timm.is_model(name):
        raise RuntimeError(f"timm has no model {name!r}")
    advice = f"without a network give a local file: timm:{name}@FILE"
    repository = getattr(timm.models.get_pretrained_cfg(name), "hf_hub_id", None)
    host = unreachable_host(repository, FILES) if repository else None
    if host is not None:
        raise RuntimeError(f"the weights of {name!r} are not here and {host} not reached; {advice}")
    try:
        module = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise RuntimeError(
            f"the weights of {name!r} could not be had ({first_line(error)}); {advice}"
        ) from error
    return replace(from_module(module), imagenet=imagenet.of_timm(name))


def from_checkpoint(name: str, path: str | Path) -> Network:
    """timm's `name` with the weights in `path` (.safetensors, or a torch file of weights only).

    The number of source classes is read from the file.

    Raises:
        FileNotFoundError, RuntimeError: No such file; names or shapes that do not fit.
    """
    timm = slow_import("timm")

    if not Path(path).exists():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    weights = read_weights(path)
    options: dict[str, Any] = {}
    probe = timm.create_model(name, pretrained=False)
    head = getattr(probe, "pretrained_cfg", {}).get("classifier")
    if isinstance(head, str) and f"{head}.weight" in weights:
        options["num_classes"] = len(weights[f"{head}.weight"])
    module = timm.create_model(name, pretrained=False, **options)
    module.load_state_dict(weights)
    return from_module(module)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """A state dict, never running code from the file; wrappers and `module.` are taken off."""
    if Path(path).suffix == ".safetensors":
        return load_file(path)
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(x, Tensor) for x in content.values()):
        raise RuntimeError(f"{path} holds no state dict of tensors")
    return {key.removeprefix("module."): x for key, x in content.items()}


def from_module(module: nn.Module) -> Network:
    """A timm module with the preprocessing of its own `pretrained_cfg`."""
    config = slow_import("timm.data").resolve_model_data_config(module)
    return Network(module, TimmTransform(config))
