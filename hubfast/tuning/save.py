"""A tuned model on disk: plain weights, the plain module, timm's config where it fits, a card."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from hubfast.tuning.framing import Size
from hubfast.tuning.usage import Input


def save_model(
    folder: Path,
    module: nn.Module,
    *,
    labels: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    transform: Any,
    card: str,
) -> None:
    """Writes a folder that needs no hubfast to be used, unless the method is of hubfast's own.

    - `model.safetensors`: the weights.
    - `model.pt`: the module, `torch.load(path, weights_only=False)`.
    - `config.json`: where timm can build the module by name;
      `timm.create_model("local-dir:FOLDER", pretrained=True)` then loads it.
    - `transform.pt`: how images are prepared, where the model was given a transform of its own.
    - `labels.json`: task, classes, size of images; `Labels.from_dict` reads it.
    - `README.md`: the model card; its code gives the numbers that it states.

    Args:
        folder: Made if it is not there.
        module: The plain module, on the CPU, in eval mode.
        labels: The content of `labels.json`.
        config: The content of `config.json`, see `timm_config`; None to write none.
        transform: The content of `transform.pt`; None to write none.
        card: The text of `README.md`.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    _write(folder / "model.safetensors", lambda path: save_file(weights, path))
    _write(folder / "model.pt", lambda path: torch.save(module, path))
    (folder / "labels.json").write_text(json.dumps(labels, indent=2) + "\n")
    if transform is not None:
        _write(folder / "transform.pt", lambda path: torch.save(transform, path))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "README.md").write_text(card)


def timm_config(module: nn.Module, names: tuple[str, ...], takes: Input) -> dict[str, Any] | None:
    """What timm needs to build `module` by its architecture's name; None if it would not fit.

    The preprocessing in it is that of the evaluation, where timm can express it.
    """
    cfg = getattr(module, "pretrained_cfg", None)
    name = cfg.get("architecture", "") if isinstance(cfg, dict) else ""
    classes = getattr(module, "num_classes", None)
    if not isinstance(cfg, dict) or not _builds(
        name, classes, module, takes.size or takes.framing.size
    ):
        return None
    kept = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    described = {**cfg, **(takes.config or {})}
    pretrained = {
        key: described[key]
        for key in (*kept, "pool_size", "first_conv", "classifier")
        if key in described
    }
    return {
        "architecture": name,
        "num_classes": classes,
        "num_features": getattr(module, "num_features", None),
        "label_names": list(names),
        "pretrained_cfg": {**pretrained, "num_classes": classes},
    }


@torch.inference_mode()
def _builds(name: str, classes: int | None, module: nn.Module, size: Size) -> bool:
    """Whether timm's `name` with the weights of `module` computes what `module` does."""
    import timm  # slow to import

    if not timm.is_model(name):
        return False
    with torch.random.fork_rng(devices=[]):
        twin = timm.create_model(name, pretrained=False, num_classes=classes).eval()
        images = torch.rand(1, 3, *size)
    if _shapes(twin) != _shapes(module):
        return False
    twin.load_state_dict(module.state_dict())
    return torch.allclose(twin(images), module(images), rtol=1e-3, atol=1e-4)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _write(path: Path, write: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    os.replace(partial, path)
