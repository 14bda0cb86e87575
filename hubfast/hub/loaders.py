"""Which loader a spec names: `hf:org/model` is transformers', `a.onnx` is onnxruntime's."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from hubfast.hub import query, stored, timm_models, torch_hub
from hubfast.hub.exported.loader import load as load_exported
from hubfast.hub.keras.loader import load as load_keras
from hubfast.hub.model import Loading, Model
from hubfast.hub.network import Network
from hubfast.hub.onnx.loader import load as load_onnx
from hubfast.hub.preprocessing import image_transform
from hubfast.hub.tensorflow.loader import load as load_saved_model
from hubfast.hub.transformers.loading import load as load_transformers

KINDS = ("timm", "minihub", "torchhub", "hf", "onnx", "export", "keras", "tfhub")
FILES = {".onnx": "onnx", ".pt2": "export", ".keras": "keras"}  # kinds that a suffix tells
FORMS = (
    "timm:NAME, timm:NAME?pretrained=false, timm:NAME@CHECKPOINT, torchhub:REPO/MODEL, "
    "hf:NAME or hf:FOLDER, onnx:FILE, export:FILE, keras:FILE, tfhub:FOLDER, minihub, "
    "minihub:NAME, a .yaml or .toml hub file, "
    "a .npy/.npz/.safetensors/.parquet file of features or a folder of them"
)
Load = Callable[[Loading], Model]


def kind_of(spec: str) -> str:
    """Tells which of KINDS a spec is, or "features"; empty for a spec of no known form."""
    kind, _, rest = spec.partition(":")
    if kind in KINDS and rest:
        return kind
    suffix = Path(spec).suffix
    return "features" if suffix in stored.SUFFIXES else FILES.get(suffix, "")


def loader(spec: str) -> tuple[str, Load]:
    """Gives a name to show, and what loads the model.

    Raises:
        ValueError: The spec has no known form.
    """
    kind, _, rest = spec.partition(":")
    if kind in KINDS and rest:
        return (rest if kind == "minihub" else spec), _of_kind(kind, rest)
    match kind_of(spec):
        case "":
            raise ValueError(f"hub must hold {FORMS}; got {spec!r}")
        case "features":
            return Path(spec).stem, lambda loading: stored.read(spec)
        case known:
            return Path(spec).stem, _of_kind(known, spec)


def _of_kind(kind: str, rest: str) -> Load:
    match kind:
        case "timm":
            return partial(_timm, rest)
        case "minihub":
            return lambda loading: _minihub(rest)
        case "torchhub":
            return partial(torch_hub.load, rest)
        case "hf":
            return partial(load_transformers, rest)
        case "onnx":
            return partial(load_onnx, rest)
        case "export":
            return partial(load_exported, rest)
        case "keras":
            return partial(load_keras, rest)
        case _:
            return partial(load_saved_model, rest)


def _timm(name: str, loading: Loading) -> Network:
    model, at, checkpoint = name.partition("@")
    if at:
        network = timm_models.from_checkpoint(model, checkpoint, loading.keys)
    else:
        model, trained = query.wants_training(name)
        load = timm_models.pretrained if trained else timm_models.with_random_weights
        network = load(model)
    if loading.preprocessing is None:
        return network
    return replace(network, transform=image_transform(loading.preprocessing))


def _minihub(name: str) -> Network:
    from hubfast.minihub import build, load

    build(names=[name], progress=False)  # no bar of its own inside a ranking's
    return timm_models.from_module(load(name))
