"""From what people write, `timm:resnet50.a1_in1k` or a module, to the sources of a hub."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from os.path import isdir  # which holds a name that no file can have for none
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.hub import hub_file, query, stored, timm_models
from hubfast.hub.loaders import FORMS, kind_of, loader
from hubfast.hub.model import Loading, Source
from hubfast.hub.network import Network
from hubfast.hub.transformers.options import split_options
from hubfast.nn.last_layers import unwrapped
from hubfast.utils.names import brief


def as_hub(hub: Any, *, trust: bool = False, progress: bool = False) -> list[Source]:
    """Makes the sources of a hub, with unique names.

    Args:
        hub: One spec, a list of specs, or a mapping from names to specs. A spec is a string such
            as `"timm:NAME"`, `"hf:NAME"`, `"onnx:FILE"` (`hubfast.hub.loaders.FORMS` has all), an
            nn.Module, a callable from batch to features, or a Source. A hub file, a query such as
            `"timm:resnet*?params<30M"` and a folder of features are several models.
        trust: Models may run code of their own: torch.hub repositories, transformers' remote
            code, Keras lambdas, torch.export programs, TensorFlow graphs.
        progress: Show a bar while a query looks at models.

    Raises:
        ValueError, TypeError: A spec has no known form, or the hub is empty.
    """
    loading, named = Loading(trust=trust, progress=progress), []
    if isinstance(hub, Mapping):
        named = [as_source(spec, name=name, trust=trust) for name, spec in hub.items()]
    else:
        one = isinstance(hub, str | Path | nn.Module | Source) or callable(hub)
        if not one and not isinstance(hub, Iterable):
            raise TypeError(f"hub must hold {FORMS}, modules or callables, got {hub!r}")
        specs: Iterable[Any] = [hub] if one else hub
        for spec in specs:
            named += _expand(spec, loading)
    if not named:
        raise ValueError("hub must hold at least one model")
    seen: dict[str, int] = {}
    unique = []
    for source in named:
        seen[source.name] = count = seen.get(source.name, 0) + 1
        unique.append(
            replace(source, name=source.name if count == 1 else f"{source.name} ({count})")
        )
    return unique


def as_source(
    spec: Any,
    *,
    name: str | None = None,
    transform: Callable[[Any], Tensor] | None = None,
    trust: bool = False,
    key: str = "",
) -> Source:
    """Makes the source of one model.

    Args:
        spec: As in `as_hub`.
        name: The name shown in rankings; None for one made from the spec.
        transform: For modules and callables: turns a PIL image into the model's input. A timm
            module has its own; without one, the model takes the data's float tensors.
        trust: As in `as_hub`.
        key: For modules and callables: lets their features be kept in the cache, under this name.
            It stands for all of the model that is neither in its weights nor in the code of its
            classes: give it another one when you change anything else.

    Raises:
        ValueError: `transform` or `key` is given for a spec, or the spec has no known form.
        TypeError: `spec` is none of what a hub may hold, or its name is no string.
    """
    if name is not None and not (isinstance(name, str) and name.strip()):
        kind = ValueError if isinstance(name, str) else TypeError
        raise kind(f"the name of a model must be a string with a character, got {brief(name)}")
    match spec:
        case Source():
            return replace(spec, name=name or spec.name, key=key or spec.key)
        case type():
            raise TypeError(f"hub must hold modules, not classes of them, got {spec.__name__}")
        case nn.DataParallel() | nn.parallel.DistributedDataParallel():
            return as_source(unwrapped(spec), name=name, transform=transform, key=key)
        case str() | Path():
            for what, value in (("transform", transform), ("key", key)):
                if value:
                    raise ValueError(f"{what} is for modules and callables, not for {spec!r}")
            return _named(str(spec), name, Loading(trust=trust))
        case _ if callable(spec):
            return replace(_of_object(spec, name, transform), given=spec, key=key)
    raise TypeError(f"hub must hold {FORMS}, modules or callables, got {type(spec).__name__}")


def _of_object(spec: Any, name: str | None, transform: Callable[[Any], Tensor] | None) -> Source:
    """The source of a module or callable."""
    if isinstance(spec, nn.Module) and hasattr(spec, "pretrained_cfg") and transform is None:
        config: Any = spec.pretrained_cfg
        label = name or config.get("architecture") or type(spec).__name__
        return Source(label, partial(timm_models.from_module, spec), kind="object")
    label = name or str(getattr(spec, "__name__", type(spec).__name__))
    own = transform or getattr(spec, "transform", None)
    load = partial(Network, spec, own, notes=_of_script(spec))
    return Source(label, load, kind="object", transform=own)


def _of_script(spec: Any) -> tuple[str, ...]:
    """What cannot be seen in a TorchScript program."""
    if not isinstance(spec, torch.jit.ScriptModule):
        return ()
    return ("TorchScript hides its layers: features are its output, even a classifier's",)


def _named(spec: str, name: str | None, loading: Loading) -> Source:
    label, load = loader(spec)
    kind = kind_of(spec)
    written = None if kind == "features" else spec  # stored features are no model
    return Source(
        name or label, partial(load, loading), spec=written, kind=kind, given=spec, loading=loading
    )


def _expand(spec: Any, loading: Loading) -> list[Source]:
    """All models that a spec stands for."""
    if not isinstance(spec, str | Path):
        return [as_source(spec)]
    text = str(spec)
    if spec == "":
        raise ValueError(f"hub must hold {FORMS}, got an empty string")
    kind, colon, rest = text.partition(":")
    if text == "minihub":
        from hubfast.minihub import model_names

        return [_named(f"minihub:{name}", None, loading) for name in model_names()]
    if Path(text).suffix in hub_file.SUFFIXES:
        entries = hub_file.read_hub_file(text)
        return [replace(model, hub_file=text) for entry in entries for model in _of(entry, loading)]
    if kind == "timm":
        if not query.is_query(query.wants_training(rest)[0]):
            return [_named(text, None, loading)]
        matching = query.matching_timm(rest, progress=loading.progress)
        return [
            replace(_named(f"timm:{name}", None, loading), licence=licence)
            for name, licence in matching
        ]
    options = ""
    if kind == "hf":
        rest, options = split_options(rest)
        text, options = f"hf:{rest}", f"?{options}" if options else ""
    if query.is_query(text):
        start, pattern = (f"{kind}:", rest) if colon else ("", text)
        paths = query.matching_files(pattern)
        return [_named(f"{start}{path}{options}", None, loading) for path in paths]
    text += options
    if isdir(text):
        return _in_folder(Path(text), loading)
    return [_named(text, None, loading)]


def _in_folder(folder: Path, loading: Loading) -> list[Source]:
    """Of its hub file, if there is one, else of the features in it."""
    for suffix in hub_file.SUFFIXES:
        if (folder / f"hub{suffix}").exists():
            return _expand(folder / f"hub{suffix}", loading)
    files = sorted(p for p in folder.iterdir() if p.suffix in stored.SUFFIXES)
    if not files:
        raise ValueError(f"no {stored.SUFFIXES} files in the folder {folder}, and no hub.yaml")
    return [_named(str(path), None, loading) for path in files]


def _of(entry: hub_file.Entry, loading: Loading) -> list[Source]:
    loading = replace(
        loading,
        preprocessing=entry.preprocessing,
        arguments=entry.arguments or {},
        keys=entry.keys,
    )
    alone = not (entry.preprocessing or entry.arguments or entry.keys != "by_name")
    if Path(entry.model).suffix in hub_file.SUFFIXES:
        raise ValueError(f"a hub file must hold models, not hub files, got {entry.model!r}")
    models = _expand(entry.model, loading)
    if entry.name is not None and len(models) > 1:
        raise ValueError(f"{entry.model!r} is {len(models)} models, they cannot share one name")
    name = entry.name
    if name is None and entry.written != entry.model and not query.is_query(entry.written):
        name = loader(entry.written)[0]  # this is shorter than with the path of the hub file
    return [
        replace(
            source,
            name=name or source.name,
            note=entry.note or source.note,
            licence=entry.licence or source.licence,
            imagenet=source.imagenet if entry.imagenet is None else entry.imagenet,
            spec=source.spec if alone else None,
        )
        for source in models
    ]
