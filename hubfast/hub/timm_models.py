"""timm models: pretrained weights by name, or a local checkpoint, each with its own transform."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.hub import imagenet
from hubfast.hub.errors import one_line
from hubfast.hub.model import Keys
from hubfast.hub.network import Network
from hubfast.hub.preprocessing import TimmTransform
from hubfast.hub.reach import unreachable_host
from hubfast.nn.checkpoints import find_weights, state_dicts, under
from hubfast.nn.fitting import by_order, fit, named, put_in
from hubfast.nn.image_config import image_config
from hubfast.nn.weight_files import read_weight_file
from hubfast.utils.defaults import usual_defaults
from hubfast.utils.extras import slow_import

FILES = ("model.safetensors", "pytorch_model.bin")  # files of weights in a Hugging Face repository
SEED = 0  # seed of random weights


def pretrained(name: str) -> Network:
    """Loads timm's `name` with its published weights.

    Raises:
        RuntimeError: The name is unknown, or the weights could not be fetched.
    """
    timm = slow_import("timm")

    _require_name(name)
    advice = f"without a network give a local file: timm:{name}@FILE"
    repository = getattr(timm.models.get_pretrained_cfg(name), "hf_hub_id", None)
    host = unreachable_host(repository, FILES) if repository else None
    if host is not None:
        raise RuntimeError(f"the weights of {name!r} are not here and {host} not reached; {advice}")
    try:
        module = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise RuntimeError(
            f"the weights of {name!r} could not be had ({one_line(error)}); {advice}"
        ) from error
    return replace(from_module(module), imagenet=imagenet.of_timm(name))


def with_random_weights(name: str) -> Network:
    """Builds timm's `name` without training, with the same weights each time: a baseline.

    Raises:
        RuntimeError: The name is unknown.
    """
    network = from_module(_untrained(name))
    return replace(network, notes=(f"weights are random (seed {SEED})",))


def from_checkpoint(name: str, path: str | Path, keys: Keys = "by_name") -> Network:
    """timm's `name` with the weights in `path` (.safetensors, or a torch file of weights only).

    The number of source classes is read from the file. Without a classifier that fits the model's
    names, its features are there and its source logits are not.

    Args:
        name: Name of the architecture.
        path: The file; weights may lie in it as training scripts, wrappers and trainers leave them.
        keys: `"by_order"` matches weights by their order and shapes, whatever their names.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError, ValueError: The file is of another kind, or its weights do not fit; the
            message has their names and shapes.
    """
    content = read_weight_file(path)
    module = plain = _untrained(name)
    try:
        weights, notes = _weights(content, plain, Path(path), keys)
    except ValueError as error:
        raise RuntimeError(f"{path}: {error}") from error
    heads = _heads(plain)
    classes = next((len(x) for n, x in weights.items() if under(n, heads)), 0)
    if classes != plain.num_classes:
        module = _untrained(name, num_classes=classes)
    if not classes:
        notes += ("its file has no classifier of the model's names: features only",)
    misfit = fit(weights, module, heads)
    if not misfit:
        raise RuntimeError(f"{path} does not fit {name}: {misfit}{_offer(content, plain, path)}")
    if misfit.unused:
        notes += (f"not used of its file: {named(misfit.unused)}",)
    put_in(weights, module)
    return replace(from_module(module), notes=notes)


def from_module(module: nn.Module) -> Network:
    """Wraps a timm module with its `pretrained_cfg`'s preprocessing, in the size it is built for.

    One that takes neither colour nor grey images has no preprocessing: it takes float tensors.
    """
    config = image_config(module)
    channels = config["input_size"][0]
    if channels not in (1, 3):
        return Network(module, advice=f"float tensors, since it takes {channels} channels")
    return Network(module, TimmTransform(config))


def _weights(
    content: Any, module: nn.Module, path: Path, keys: Keys
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights by the names of `module`, and what should be known of how they were found."""
    wanted, heads = module.state_dict(), _heads(module)
    if keys == "by_order":
        weights = _in_order(content, wanted, heads, path)
        return weights, (f"its {len(weights)} weights are matched by order, not by name",)
    found = find_weights(content, wanted, heads)
    if not found.others:
        return found.weights, ()
    place = found.place or "names without a prefix"
    return found.weights, (f"weights are those of {place}; also there: {named(found.others)}",)


def _in_order(
    content: Any, wanted: Mapping[str, Tensor], heads: Sequence[str], path: Path
) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        raise ValueError(
            "keys: by_order needs a file of torch.save, .safetensors keeps no order of its tensors"
        )
    refused = "the file holds no state dict"
    for _, state in state_dicts(content):
        try:
            return by_order(state, wanted, heads)
        except ValueError as error:
            refused = str(error)
    raise ValueError(refused)


def _offer(content: Any, module: nn.Module, path: str | Path) -> str:
    """What to write where names differ and the shapes fit in their order."""
    try:
        _in_order(content, module.state_dict(), _heads(module), Path(path))
    except ValueError:
        return ""
    return "; the shapes fit in their order: keys: by_order in a hub file takes them so"


def _heads(module: nn.Module) -> tuple[str, ...]:
    """Names of the layers whose outputs are the source classes."""
    found: Any = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _untrained(name: str, **options: Any) -> Any:
    """timm's `name` on the CPU with seeded random weights; the generator's state is kept."""
    timm = slow_import("timm")

    _require_name(name)
    with torch.random.fork_rng(devices=[]), usual_defaults():
        torch.default_generator.manual_seed(SEED)
        return timm.create_model(name, pretrained=False, **options)


def _require_name(name: str) -> None:
    timm = slow_import("timm")

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise RuntimeError(
            f"timm has no model {name!r}" + (f"; near to it: {', '.join(near)}" if near else "")
        )
