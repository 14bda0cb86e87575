"""A tuned model on disk: plain weights, the plain module, timm's config where it fits, a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from hubfast.nn.timm_twin import timm_recipe
from hubfast.tuning.usage import Input
from hubfast.utils.documents import write_json
from hubfast.utils.files import replacing, write_text


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
    - `labels.json`: task, classes, size of images; `TargetEncoder.from_dict` reads it.
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
    with replacing(folder / "model.safetensors") as partial:
        save_file(weights, partial)
    with replacing(folder / "model.pt") as partial:
        torch.save(module, partial)
    write_json(folder / "labels.json", labels)
    if transform is not None:
        with replacing(folder / "transform.pt") as partial:
            torch.save(transform, partial)
    if config is not None:
        write_json(folder / "config.json", config)
    write_text(folder / "README.md", card)


def timm_config(module: nn.Module, names: tuple[str, ...], takes: Input) -> dict[str, Any] | None:
    """What timm needs to build `module` by its architecture's name; None if it would not fit.

    The preprocessing in it is that of the evaluation, where timm can express it.
    """
    cfg = getattr(module, "pretrained_cfg", None)
    recipe = timm_recipe(module, takes.size or takes.framing.size)
    if recipe is None or not isinstance(cfg, dict):
        return None
    name, classes = recipe["model_name"], recipe["num_classes"]
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
