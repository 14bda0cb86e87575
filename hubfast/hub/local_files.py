"""Files on which a model depends, where they are on this machine already; no network is asked."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

# Kinds of files that lie beside models of transformers and that it never reads.
UNREAD = {".md", ".onnx", ".h5", ".msgpack", ".ot", ".tflite"}
DEFAULT = "pytorch_model.bin"  # the file that timm asks for where a model names no other
BETTER = {
    DEFAULT: "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


def timm_weights(config: Any) -> Path | None:
    """The file of weights that timm would load, of a model's `PretrainedCfg`."""
    if config.state_dict or config.source == "local-dir":
        return None
    if config.file:
        return Path(config.file)
    if config.hf_hub_id and not _prefers_old(config.url):
        return _of_hugging_face(config.hf_hub_id, config.hf_hub_filename or DEFAULT)
    return _checkpoint(config.url)


def transformers_folder(name: str) -> Path | None:
    """The folder of a model of transformers: the folder itself, or the snapshot that is here."""
    if Path(name).is_dir():
        return Path(name)
    found = _in_cache(name, "config.json")
    return None if found is None else found.parent


def below(folder: Path) -> dict[str, Path]:
    """All files of a model below a folder, by their names there; hidden ones do not count.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() not in UNREAD:
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def preprocessing(path: Path) -> dict[str, Path]:
    """Files in which `preprocessing.transform_of_file` looks for what the model in `path` needs."""
    folder = path if path.is_dir() else path.parent
    places = {
        "its json": path.with_suffix(".json"),
        "config.json": folder / "config.json",
        "preprocessor_config.json": folder / "preprocessor_config.json",
    }
    return {name: place for name, place in places.items() if place.exists()}


def onnx_data(path: Path) -> dict[str, Path]:
    """The files beside an ONNX file in which tensors of it are, by their names in it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path} is not an ONNX file") from error
    return {name: path.parent / name for name in sorted({*_locations(model)})}


def _locations(message: Any) -> Iterator[str]:
    """Names of external files in all tensors of a message of protobuf, wherever they stand."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield from (entry.value for entry in message.external_data if entry.key == "location")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _locations(part)


def _of_hugging_face(repository: str, file: str) -> Path | None:
    """The file that timm takes of a repository, which prefers safetensors."""
    name, _, revision = repository.partition("@")
    better = BETTER.get(file, file.removesuffix(".bin") + ".safetensors")
    wanted = [better, file] if file.endswith(".bin") else [file]
    found = (_in_cache(name, each, revision or None) for each in wanted)
    return next((path for path in found if path is not None), None)


def _in_cache(repository: str, file: str, revision: str | None = None) -> Path | None:
    import huggingface_hub  # slow to import

    try:
        found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
    except ValueError:  # no name that a repository may have
        return None
    return Path(found) if isinstance(found, str) else None


def _prefers_old(url: str | None) -> bool:
    """Whether timm is asked to prefer files that were fetched by their addresses."""
    wanted = os.environ.get("TIMM_USE_OLD_CACHE", "0")
    return wanted.isdecimal() and int(wanted) > 0 and _checkpoint(url) is not None


def _checkpoint(url: str | None) -> Path | None:
    """The file that torch.hub has kept of an address."""
    import torch

    if not url:
        return None
    path = Path(torch.hub.get_dir(), "checkpoints", os.path.basename(urlparse(url).path))
    return path if path.exists() else None


def _raise(error: OSError) -> None:
    raise error
