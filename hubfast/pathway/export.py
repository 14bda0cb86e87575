"""A hub as a folder: a file of weights a model, and what is needed to build it again."""

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hubfast.pathway.generator import PathwayGenerator, pathway_generator
from hubfast.pathway.models import HubModel
from hubfast.pathway.module import HubPathway
from hubfast.pathway.store import LazyModel, ModelStore

FORMAT = 1
Builders = Mapping[str, Callable[[], nn.Module]]


def export(hub: HubPathway, folder: str | Path) -> None:
    """Writes config.json and .safetensors files; config.json last, so that it means complete.

    Args:
        hub: Any. Models that timm builds again are loaded without more; for others `load` wants
            a function.
        folder: Made if missing; files of an earlier export are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    projections = getattr(hub.aggregator, "projections", None)
    widths = None if projections is None else [p.in_features for p in projections]
    entries = []
    for m, model in enumerate(hub.models):
        assert isinstance(model, HubModel)
        _write(model.module, folder / f"model{m}.safetensors")
        entries.append(
            {
                "name": model.name,
                "size": model.size,
                "mean": model.mean.flatten().tolist(),
                "std": model.std.flatten().tolist(),
                "width": None if widths is None else widths[m],
                "timm": model.recipe or timm_recipe(model.module),
            }
        )
    _write(hub.generator, folder / "generator.safetensors")
    _write(hub.aggregator, folder / "aggregator.safetensors")
    config = {
        "format": FORMAT,
        "options": hub.options,
        "models": entries,
        "generator": {
            "architecture": hub.generator.architecture,
            "noise": hub.generator.spread is not None,
            "size": hub.generator.mean.size,
        },
    }
    partial_file = folder / f".config.{os.getpid()}.partial"
    partial_file.write_text(json.dumps(config, indent=2) + "\n")
    os.replace(partial_file, folder / "config.json")


def load(
    folder: str | Path, *, builders: Builders | None = None, memory_limit: int | None = None
) -> HubPathway:
    """The hub that `export` wrote, in eval mode on the CPU.

    Args:
        folder: Of the export.
        builders: Functions that build a model by its name, and the `"generator"`, with any
            weights; for those that timm does not build.
        memory_limit: Bytes of models held at a time: they are read when a sample asks for them,
            and the hub is for inference only. None: all are loaded, and can be trained further.

    Raises:
        FileNotFoundError: No export there, or an incomplete one.
        ValueError: Another format, a model without a builder, a limit under the largest model.
        RuntimeError: Weights that do not fit what was built.
    """
    folder, builders = Path(folder), builders or {}
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"no exported hub in {folder}")
    config = json.loads((folder / "config.json").read_text())
    if config.get("format") != FORMAT:
        raise ValueError(f"{folder} must have format {FORMAT}, got {config.get('format')!r}")
    options = config["options"]
    files = [folder / f"model{m}.safetensors" for m in range(len(config["models"]))]
    makers = [partial(_build, builders, entry) for entry in config["models"]]
    loaders = [partial(_read, make, file) for make, file in zip(makers, files, strict=True)]
    store = None if memory_limit is None else ModelStore(loaders, memory_limit)
    modules = [
        make() if store is None else LazyModel(store, m, entry["width"])
        for m, (make, entry) in enumerate(zip(makers, config["models"], strict=True))
    ]
    models = [
        HubModel(
            module,
            name=entry["name"],
            size=None if entry["size"] is None else tuple(entry["size"]),
            mean=entry["mean"],
            std=entry["std"],
            recipe=entry["timm"],
        )
        for module, entry in zip(modules, config["models"], strict=True)
    ]
    generator = _generator(builders, config["generator"], len(models))
    executor = "auto" if store is None else store.execute
    hub = HubPathway(models, generator=generator, executor=executor, **options)
    for part in ("generator", "aggregator"):
        getattr(hub, part).load_state_dict(load_file(folder / f"{part}.safetensors"))
    if store is None:  # only now: the hub has given the models new heads
        for model, file in zip(models, files, strict=True):
            model.module.load_state_dict(load_file(file))
    return hub.eval()


def timm_recipe(module: nn.Module) -> dict[str, Any] | None:
    """Arguments with which `timm.create_model` builds a module of the same layers, if there are.

    Compares printed layers and shapes of weights with a fresh model's.
    """
    config = getattr(module, "pretrained_cfg", None)
    if config is None:
        return None
    import timm  # slow to import

    name = config.get("architecture")
    if not name or not timm.is_model(name):
        return None
    recipe = {"model_name": name, "num_classes": module.num_classes}
    with torch.device("meta"):
        fresh = timm.create_model(pretrained=False, **recipe)
    same = str(fresh) == str(module) and _shapes(fresh) == _shapes(module)
    return recipe if same else None


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: x.shape for name, x in module.state_dict().items()}


def _write(module: nn.Module, path: Path) -> None:
    weights = {name: x.detach().cpu().contiguous() for name, x in module.state_dict().items()}
    save_file(weights, path)


def _build(builders: Builders, entry: dict) -> nn.Module:
    name, recipe = entry["name"], entry["timm"]
    if name in builders:
        return builders[name]()
    if recipe is None:
        raise ValueError(f"builders must hold {name!r}: timm does not build it")
    import timm

    return cast(nn.Module, timm.create_model(pretrained=False, **recipe))


def _read(make: Callable[[], nn.Module], file: Path) -> nn.Module:
    module = make()
    module.load_state_dict(load_file(file))
    return module.eval()


def _generator(builders: Builders, entry: dict, models: int) -> PathwayGenerator:
    if "generator" in builders:
        found = builders["generator"]()
        if not isinstance(found, PathwayGenerator):
            raise ValueError(
                f"the generator must be a PathwayGenerator, got {type(found).__name__}"
            )
        return found
    if entry["architecture"] is None:
        raise ValueError("builders must hold 'generator': pathway_generator() did not make it")
    size = None if entry["size"] is None else tuple(entry["size"])
    return pathway_generator(entry["architecture"], models, noise=entry["noise"], size=size)
