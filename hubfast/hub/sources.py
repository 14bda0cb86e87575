"""From what people write, `timm:resnet50.a1_in1k` or a module, to the sources of a hub."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubfast.hub import stored, timm_models
from hubfast.hub.model import Source
from hubfast.hub.network import Network

FORMS = (
    "timm:NAME, timm:NAME@CHECKPOINT, minihub, minihub:NAME, "
    "a .npy/.npz/.safetensors file of features or a folder of them"
)


def as_hub(hub: Any) -> list[Source]:
    """The sources of a hub, names made unique.

    Args:
        hub: One spec, a list of specs, or a mapping from names to specs. A spec is a string
            (`FORMS`), an nn.Module, a callable from batch to features, or a Source.

    Raises:
        ValueError, TypeError: A spec of no known form, or an empty hub.
    """
    named: list[Source] = []
    if isinstance(hub, Mapping):
        named = [as_source(spec, name=name) for name, spec in hub.items()]
    else:
        one = isinstance(hub, str | Path | nn.Module | Source) or callable(hub)
        if not one and not isinstance(hub, Iterable):
            raise TypeError(f"hub must hold {FORMS}, modules or callables, got {hub!r}")
        specs: Iterable[Any] = [hub] if one else hub
        for spec in specs:
            named += _expand(spec)
    if not named:
        raise ValueError("hub must hold at least one model")
    seen: dict[str, int] = {}
    unique = []
    for source in named:
        seen[source.name] = count = seen.get(source.name, 0) + 1
        name = source.name if count == 1 else f"{source.name} ({count})"
        unique.append(Source(name, source.load))
    return unique


def as_source(
    spec: Any, *, name: str | None = None, transform: Callable[[Any], Tensor] | None = None
) -> Source:
    """One model of a hub.

    Args:
        spec: As in `as_hub`.
        name: Shown in rankings; None for one made from the spec.
        transform: For modules and callables: turns a PIL image into the model's input. A timm
            module has its own; without one, the model takes the data's float tensors.
    """
    match spec:
        case Source():
            return Source(name or spec.name, spec.load)
        case nn.Module() if hasattr(spec, "pretrained_cfg") and transform is None:
            config: Any = spec.pretrained_cfg
            label = name or config.get("architecture") or type(spec).__name__
            return Source(label, partial(timm_models.from_module, spec))
        case str() | Path():
            if transform is not None:
                raise ValueError(f"transform is for modules and callables, not for {spec!r}")
            return _named(str(spec), name)
        case _ if callable(spec):
            label = name or str(getattr(spec, "__name__", type(spec).__name__))
            own = transform or getattr(spec, "transform", None)
            return Source(label, partial(Network, spec, own))
    raise TypeError(f"hub must hold {FORMS}, modules or callables, got {type(spec).__name__}")


def _expand(spec: Any) -> list[Source]:
    if spec == "minihub":
        from hubfast.minihub import model_names

        return [as_source(f"minihub:{name}") for name in model_names()]
    if isinstance(spec, str | Path) and Path(spec).is_dir():
        files = sorted(p for p in Path(spec).iterdir() if p.suffix in stored.SUFFIXES)
        if not files:
            raise ValueError(f"no {stored.SUFFIXES} files in the folder {spec}")
        return [as_source(path) for path in files]
    return [as_source(spec)]


def _named(spec: str, name: str | None) -> Source:
    kind, _, rest = spec.partition(":")
    if kind == "timm" and rest:
        model, at, checkpoint = rest.partition("@")
        if at:
            return Source(name or spec, partial(timm_models.from_checkpoint, model, checkpoint))
        return Source(name or spec, partial(timm_models.pretrained, model))
    if kind == "minihub" and rest:
        return Source(name or rest, partial(_minihub, rest))
    if Path(spec).suffix in stored.SUFFIXES:
        return Source(name or Path(spec).stem, partial(stored.read, spec))
    raise ValueError(f"hub must hold {FORMS}; got {spec!r}")


def _minihub(name: str) -> Network:
    from hubfast.minihub import build, load

    build(names=[name], progress=False)  # no bar of its own inside a ranking's
    return timm_models.from_module(load(name))
