"""A tuned model on disk: plain weights, the plain module, timm's config where it fits, a card."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from hubfast.nn.timm_twin import timm_recipe
from hubfast.tuning.adapter import FOLDER, Adapter
from hubfast.tuning.card import image_usage, model_card
from hubfast.tuning.framing import Framing
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.pixel_model import INSIDE, PixelModel, describe
from hubfast.tuning.plain_files import save_plain
from hubfast.tuning.usage import Input, Loads
from hubfast.utils.documents import write_json
from hubfast.utils.files import replacing, write_text


def save_images(
    folder: Path,
    tuned: nn.Module,
    labels: TargetEncoder,
    framing: Framing,
    record: Mapping[str, Any],
) -> None:
    """Writes a folder that needs no hubfast to be used, unless the method is of hubfast's own.

    - `model.safetensors`: the weights.
    - `config.json`: where timm or transformers can build the module by name;
      `timm.create_model("local-dir:FOLDER", pretrained=True)` or
      `AutoModelForImageClassification.from_pretrained(FOLDER)` then loads it.
    - `model.pt`: the module, `torch.load(path, weights_only=False)`; not of transformers' models.
    - `transform.pt`: how images are prepared, where the model was given a transform of its own.
    - `labels.json`: task, classes, size of images; `TargetEncoder.from_dict` reads it.
    - `README.md`: the model card; its code gives the numbers that it states.
    - `adapter`: of LoRA, the folder as peft writes it; the model above has it merged.

    Args:
        folder: Made if it is not there.
        tuned: What was tuned.
        labels: What its outputs stand for.
        framing: How images came to the size that it was tuned on.
        record: Plain values of the tuned model, as `Tuned.as_dict` gives them.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    export: Any = getattr(tuned, "export", None)
    plain = (copy.deepcopy(tuned) if export is None else export()).cpu().eval()
    takes = Input.of(tuned, framing)
    config = None
    if isinstance(plain, PixelModel):
        describe(plain.classifier, labels)
        loads: Loads = "transformers"
        save_plain(folder, plain.classifier.save_pretrained, *takes.processors)
    else:
        config = timm_config(plain, labels.names, takes)
        loads = "torch" if config is None else "timm"
        _write_module(folder, plain)
    if config is not None:
        write_json(folder / "config.json", config)
    write_json(folder / "labels.json", {**labels.as_dict(), "size": framing.size})
    if takes.storable and (transform := takes.own) is not None:
        with replacing(folder / "transform.pt") as partial:
            torch.save(transform, partial)
    if isinstance(model := getattr(tuned, "deployed", tuned), HeadedModel) and model.adapter:
        write = _adapter_writer(model.adapter, plain)
        save_plain(folder / FOLDER, write)
    write_text(folder / "README.md", model_card(record, image_usage(takes, labels.task, loads)))


def _write_module(folder: Path, plain: nn.Module) -> None:
    weights = {name: value.contiguous().clone() for name, value in plain.state_dict().items()}
    with replacing(folder / "model.safetensors") as partial:
        save_file(weights, partial)
    with replacing(folder / "model.pt") as partial:
        torch.save(plain, partial)


def _adapter_writer(adapter: Adapter, plain: nn.Module) -> Callable[[Path], None]:
    """What writes the adapter's folder, of a plain model whose layers may have other names."""
    if isinstance(plain, PixelModel):
        return lambda folder: adapter.write(folder, plain.classifier, removed=INSIDE)
    added = "" if adapter.place else "0."  # the model is the first part of an nn.Sequential
    return lambda folder: adapter.write(folder, plain, added=added)


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
