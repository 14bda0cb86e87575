"""timm models: pretrained weights by name, or a local checkpoint, each with its own transform."""

import socket
import urllib.parse
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hubfast.hub.model import first_line
from hubfast.hub.network import Network

# Where training scripts put the weights in a checkpoint; the averaged ones first.
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")


def pretrained(name: str) -> Network:
    """timm's `name` with its published weights.

    Raises:
        RuntimeError: Unknown name, or the weights could not be fetched.
    """
    import timm  # slow to import

    if not timm.is_model(name):
        raise RuntimeError(f"timm has no model {name!r}")
    advice = f"without a network give a local file: timm:{name}@FILE"
    if (host := _unreachable_host(name)) is not None:
        raise RuntimeError(f"the weights of {name!r} are not here and {host} not reached; {advice}")
    try:
        module = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise RuntimeError(
            f"the weights of {name!r} could not be had ({first_line(error)}); {advice}"
        ) from error
    return from_module(module)


def _unreachable_host(name: str) -> str | None:
    """The weights' host, if they must be downloaded and it cannot be reached.

    Asked first, because the download retries for most of a minute before it gives up.
    """
    import huggingface_hub
    import timm

    config = timm.models.get_pretrained_cfg(name)
    repository = getattr(config, "hf_hub_id", None)
    if not repository or urllib.request.getproxies():
        return None
    for file in ("model.safetensors", "pytorch_model.bin"):
        if isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str):
            return None
    host = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return host
    return None


def from_checkpoint(name: str, path: str | Path) -> Network:
    """timm's `name` with the weights in `path` (.safetensors, or a torch file of weights only).

    The number of source classes is read from the file.

    Raises:
        FileNotFoundError, RuntimeError: No such file; names or shapes that do not fit.
    """
    import timm

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
    from timm.data import create_transform, resolve_model_data_config

    config = resolve_model_data_config(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about training-only transforms
        transform = create_transform(**config, is_training=False)
    return Network(module, transform)
