"""What a model computes, told before it is loaded: two with equal identities give equal features.

Files count by their content and not by their names, so that they may be moved, and code by the
versions of the libraries that it is in.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hubfast.hub import local_files, timm_models
from hubfast.hub.keras.settings import settings
from hubfast.hub.model import Source
from hubfast.hub.object_identity import of_object
from hubfast.hub.query import wants_training
from hubfast.hub.transformers.options import split_options
from hubfast.utils.extras import require, slow_import
from hubfast.utils.file_hashes import FileHashes

FORMAT = 1  # of the features that hubfast takes of models; a change makes all of them anew
OF_TEXTS = 2  # as FORMAT, of models of transformers alone
OFTEN = 10.0  # seconds, after which new hashes of files are kept
SHA256 = 64  # hexadecimal digits
IMAGES = ("torch", "torchvision")  # versions that count for every model of images

Facts = dict[str, Any]
Finder = Callable[[str, FileHashes], Facts | None]


def identity(source: Source, hashes: FileHashes | None = None) -> Facts | None:
    """The facts that determine what a model computes, as far as they can be known for certain.

    Weights that a library fetches when it loads a model are unknown until then, and may be newer
    than those that were fetched before. So ask before loading, for what may have been kept under
    this identity, and again once the model has given features, to keep them under what it then is.

    Args:
        source: The model; a module or callable has an identity only with a `key`.
        hashes: Hashes of files that are known, and to which new ones are added; None for none.

    Returns:
        What JSON can hold; None where something that counts cannot be known: files that are not
        here yet, code of torch.hub repositories and of others, modules without a key. Stored
        features have none, since there is nothing to keep of them.
    """
    loading, known = source.loading, FileHashes() if hashes is None else hashes
    if source.key:
        facts: Facts | None = of_object(source, versions(*IMAGES, "timm"))
    else:
        finder = FINDERS.get(source.kind)
        if finder is None or not isinstance(source.given, str):
            return None
        rest = source.given.removeprefix(f"{source.kind}:")
        try:
            facts = finder(rest, known)
        except (OSError, ValueError, ModuleNotFoundError):  # loading it will tell what is wrong
            return None
        known.save(every=OFTEN)
    if facts is None:
        return None
    said = {
        "trust": loading.trust,
        "preprocessing": loading.preprocessing,
        "arguments": loading.arguments,
        "keys": loading.keys,
        **({} if loading.prompts is None else {"prompts": vars(loading.prompts)}),
    }
    whole = {"format": FORMAT, "kind": source.kind, **facts, "loading": said}
    plain: Facts = json.loads(json.dumps(whole, default=_plain))
    return plain


def versions(*packages: str, exact: bool = False) -> dict[str, str]:
    """Versions of the packages that are installed, without the number of the patch unless `exact`.

    What follows a `+`, such as the CUDA of a build, is left out.
    """
    found = {}
    for package in packages:
        try:
            version = importlib.metadata.version(package).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        # All of timm 1.0 differ in their patches only, and in their models.
        whole = exact or package == "timm"
        found[package] = version if whole else ".".join(version.split(".")[:2])
    return found


def _timm(name: str, hashes: FileHashes) -> Facts | None:
    model, at, checkpoint = name.partition("@")
    trained = not at
    if trained:
        model, trained = wants_training(name)
    timm = slow_import("timm")
    if not timm.is_model(model) or not _of_library(timm.models.model_entrypoint(model)):
        return None
    facts: Facts = {"name": model, "versions": versions(*IMAGES, "timm")}
    if at:
        return {**facts, "weights": hashes.of(checkpoint).hex()}
    if not trained:
        facts["versions"] = versions(*IMAGES, "timm", exact=True)  # what draws the weights
        return {**facts, "weights": f"random, seed {timm_models.SEED}"}
    config = timm.models.get_pretrained_cfg(model)
    path = None if config is None else local_files.timm_weights(config)
    if path is None:
        return None
    return {**facts, "weights": hashes.of(path).hex(), "config": config.to_dict()}


def _of_library(function: Any) -> bool:
    """Whether timm itself has an architecture: code of others has no version that is known here."""
    return str(function.__module__).startswith("timm.")


def _transformers(name: str, hashes: FileHashes) -> Facts | None:
    name, options = split_options(name)
    folder = local_files.transformers_folder(name)
    if folder is None or (folder / "adapter_config.json").exists():  # its weights are elsewhere
        return None
    described = [path.read_text() for path in folder.glob("*config.json")]
    if any('"auto_map"' in text and "--" in text for text in described):  # its code is elsewhere
        return None
    more = ["timm"] if any("timm" in text for text in described) else []
    needed = versions(*IMAGES, "transformers", "tokenizers", *more)
    files = local_files.below(folder)
    said = {"reading": OF_TEXTS, "options": options, "versions": needed}
    if Path(name).is_dir():
        return {"files": _hashed(files, hashes), **said}
    # A commit tells of all files of the repository, also of those that are fetched only later.
    edited = {file: path for file, path in files.items() if not _as_fetched(path, hashes)}
    return {
        "name": name,
        "commit": folder.name,
        "edited": _hashed(edited, hashes),
        **said,
    }


def _as_fetched(path: Path, hashes: FileHashes) -> bool:
    """Whether a file of huggingface_hub's cache still has the content that its name there tells."""
    name = path.resolve().name
    if len(name) == SHA256:
        return hashes.of(path).hex() == name
    content = path.read_bytes()  # those that Git itself keeps are small
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == name


def _onnx(path: str, hashes: FileHashes) -> Facts:
    require("onnx", "onnx", f"onnx:{path}")
    files = {"model": Path(path), **local_files.onnx_data(Path(path))}
    needed = versions(*IMAGES, "onnx", "onnxruntime", "onnxruntime-gpu")
    return {**_with_config(path, files, hashes), "versions": needed}


def _exported(path: str, hashes: FileHashes) -> Facts:
    files = {"model": Path(path)}
    return {**_with_config(path, files, hashes), "versions": versions(*IMAGES)}


def _keras(path: str, hashes: FileHashes) -> Facts:
    set_up = settings()
    engine = [] if set_up["backend"] == "torch" else [set_up["backend"]]
    needed = versions(*IMAGES, "keras", *engine)
    files = {"model": Path(path)}
    return {**_with_config(path, files, hashes), "versions": needed, "settings": set_up}


def _saved_model(path: str, hashes: FileHashes) -> Facts:
    files = local_files.below(Path(path))
    return {
        **_with_config(path, files, hashes),
        "versions": versions(*IMAGES, "tensorflow", "tensorflow-cpu"),
    }


def _minihub(name: str, hashes: FileHashes) -> Facts | None:
    from hubfast.minihub import MODELS
    from hubfast.minihub.files import find

    spec = next((model for model in MODELS if model.name == name), None)
    path = None if spec is None else find(name, spec.hash)
    if spec is None or path is None:
        return None
    needed = versions(*IMAGES, "timm")
    return {"name": name, "recipe": spec.hash, "weights": hashes.of(path).hex(), "versions": needed}


def _with_config(path: str, files: Mapping[str, Path], hashes: FileHashes) -> Facts:
    """Hashes of files, and of those near the model that may hold its preprocessing."""
    near = local_files.preprocessing(Path(path))
    needed = versions("transformers", "timm") if near else versions("timm")
    return {"files": _hashed({**files, **near}, hashes), "transform": needed}


def _hashed(files: Mapping[str, Path], hashes: FileHashes) -> dict[str, str]:
    return {name: hashes.of(path).hex() for name, path in files.items()}


def _plain(value: Any) -> Any:
    """What stands for a value that JSON cannot hold, of timm's configurations and of hub files."""
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


FINDERS: dict[str, Finder] = {
    "timm": _timm,
    "hf": _transformers,
    "onnx": _onnx,
    "export": _exported,
    "keras": _keras,
    "tfhub": _saved_model,
    "minihub": _minihub,
}
