"""A tuned model on disk: plain weights, the plain module, timm's config where it fits, a card."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn

from hubfast.tuning.card import model_card

if TYPE_CHECKING:
    from hubfast.tuning.tune import Tuned


def save_model(folder: Path, module: nn.Module, tuned: "Tuned") -> None:
    """Writes a folder that needs no hubfast to be used, unless the method is of hubfast's own.

    - `model.safetensors`: the weights.
    - `model.pt`: the module, `torch.load(path, weights_only=False)`.
    - `config.json`: where timm can build the module by name;
      `timm.create_model("local-dir:FOLDER", pretrained=True)` then loads it.
    - `labels.json`: task, classes, size of pictures; `Labels.from_dict` reads it.
    - `README.md`: the model card.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = module.cpu().eval()
    weights = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    _write(folder / "model.safetensors", lambda path: save_file(weights, path))
    _write(folder / "model.pt", lambda path: torch.save(module, path))
    labels = {**tuned.labels.as_dict(), "size": tuned.size}
    (folder / "labels.json").write_text(json.dumps(labels, indent=2) + "\n")
    config = timm_config(module, tuned.labels.names)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "README.md").write_text(model_card(tuned, by_timm=config is not None))


def timm_config(module: nn.Module, names: tuple[str, ...]) -> dict[str, Any] | None:
    """What timm needs to build `module` by its architecture's name; None if it would not fit."""
    import timm  # slow to import

    cfg = getattr(module, "pretrained_cfg", None)
    if not isinstance(cfg, dict) or not timm.is_model(name := cfg.get("architecture", "")):
        return None
    classes = getattr(module, "num_classes", None)
    with torch.device("meta"):
        twin = timm.create_model(name, pretrained=False, num_classes=classes)
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if shapes != {key: tuple(value.shape) for key, value in twin.state_dict().items()}:
        return None
    kept = ("input_size", "interpolation", "crop_pct", "mean", "std", "pool_size", "first_conv")
    pretrained = {key: cfg[key] for key in (*kept, "classifier") if key in cfg}
    return {
        "architecture": name,
        "num_classes": classes,
        "num_features": getattr(module, "num_features", None),
        "label_names": list(names),
        "pretrained_cfg": {**pretrained, "num_classes": classes},
    }


def _write(path: Path, write: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    os.replace(partial, path)
