"""A hub as a folder: one file of weights per model, and what is needed to build it again."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from safetensors.torch import load_file, save_file
from torch import nn

from hubfast.nn.timm_twin import timm_recipe
from hubfast.pathway.executors import Executor
from hubfast.pathway.generator import PathwayGenerator, pathway_generator
from hubfast.pathway.models import HubModel
from hubfast.pathway.store import LazyModel, ModelStore
from hubfast.utils.documents import read_json, write_json
from hubfast.utils.files import replacing

FORMAT = 1
Builders = Mapping[str, Callable[[], nn.Module]]


class HubParts(NamedTuple):
    """What `read` builds of an exported hub.

    Args:
        models: Each with its preprocessing, in the order of the hub.
        generator: With fresh weights, or a builder's.
        executor: `"auto"`, or that of a store whose models are read when a sample asks for them.
        options: The other arguments of `HubPathway`.
    """

    models: list[HubModel]
    generator: PathwayGenerator
    executor: str | Executor
    options: dict[str, Any]


def write(
    folder: str | Path,
    models: Sequence[HubModel],
    generator: PathwayGenerator,
    aggregator: nn.Module,
    options: Mapping[str, Any],
) -> None:
    """Writes config.json and .safetensors files; config.json last, so that it means complete.

    Args:
        folder: Made if missing; files of an earlier export are replaced.
        models: Any. Those that timm builds again are read without more; for others `read` wants
            a function.
        generator: The network that chooses models.
        aggregator: What makes one answer of the models' outputs.
        options: The arguments of `HubPathway` that make a hub of these parts.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    projections = getattr(aggregator, "projections", None)
    widths = None if projections is None else [p.in_features for p in projections]
    entries = []
    for m, model in enumerate(models):
        _write(model.module, _file(folder, m))
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
    _write(generator, folder / "generator.safetensors")
    _write(aggregator, folder / "aggregator.safetensors")
    config = {
        "format": FORMAT,
        "options": options,
        "models": entries,
        "generator": {
            "architecture": generator.architecture,
            "noise": generator.spread is not None,
            "size": generator.mean.size,
        },
    }
    write_json(folder / "config.json", config)


def read(
    folder: str | Path, *, builders: Builders | None = None, memory_limit: int | None = None
) -> HubParts:
    """The parts of the hub that `write` wrote, on the CPU; `load_weights` gives them its weights.

    Args:
        folder: Where `write` wrote the hub.
        builders: Functions that build a model by its name, and the `"generator"`, with any
            weights; for those that timm does not build.
        memory_limit: Bytes of models held at a time: they are read when a sample asks for them,
            and the hub is for inference only. None: all are loaded, and can be trained further.

    Raises:
        FileNotFoundError: The folder holds no export, or an incomplete one.
        ValueError: The export has another format, or a model without a builder.
    """
    folder, builders = Path(folder), builders or {}
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"no exported hub in {folder}")
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise ValueError(f"{folder} must have format {FORMAT}, got {config.get('format')!r}")
    entries = config["models"]
    makers = [partial(_build, builders, entry) for entry in entries]
    executor: str | Executor = "auto"
    if memory_limit is None:
        modules = [make() for make in makers]
    else:
        loaders = [partial(_read, make, _file(folder, m)) for m, make in enumerate(makers)]
        store = ModelStore(loaders, memory_limit)
        executor = store.execute
        modules = [LazyModel(store, m, entry["width"]) for m, entry in enumerate(entries)]
    models = [
        HubModel(
            module,
            name=entry["name"],
            size=None if entry["size"] is None else tuple(entry["size"]),
            mean=entry["mean"],
            std=entry["std"],
            recipe=entry["timm"],
        )
        for module, entry in zip(modules, entries, strict=True)
    ]
    generator = _generator(builders, config["generator"], len(models))
    return HubParts(models, generator, executor, config["options"])


def load_weights(
    folder: str | Path,
    models: Sequence[HubModel],
    generator: PathwayGenerator,
    aggregator: nn.Module,
) -> None:
    """Gives the parts of a hub their exported weights, in place.

    Models of a store are left to it. The hub must be built before, as that gives models new heads.

    Args:
        folder: Where `write` wrote the hub.
        models: The hub's models, in its order.
        generator: The hub's generator.
        aggregator: The hub's aggregator.

    Raises:
        RuntimeError: The weights do not fit what was built.
    """
    folder = Path(folder)
    generator.load_state_dict(load_file(folder / "generator.safetensors"))
    aggregator.load_state_dict(load_file(folder / "aggregator.safetensors"))
    for m, model in enumerate(models):
        if not isinstance(model.module, LazyModel):
            model.module.load_state_dict(load_file(_file(folder, m)))


def _file(folder: Path, m: int) -> Path:
    """The weights of model m."""
    return folder / f"model{m}.safetensors"


def _write(module: nn.Module, path: Path) -> None:
    weights = {name: x.detach().cpu().contiguous() for name, x in module.state_dict().items()}
    with replacing(path) as partial_file:
        save_file(weights, partial_file)


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
