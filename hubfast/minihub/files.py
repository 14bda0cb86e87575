"""Files of the mini-hub: one per model, shipped with hubfast or trained into the user's cache."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hubfast.utils.files import replacing
from hubfast.utils.user_cache import user_cache

KEY = "minihub"  # of the description in a file's metadata


def cache_dir() -> Path:
    """Where models and truth of this machine are kept: `HUBFAST_CACHE`, else the user's cache."""
    return user_cache("minihub")


def shipped_dir() -> Path:
    """Where the models and the truth are that come with hubfast; `make minihub` writes it."""
    return Path(__file__).parent / "weights"


def stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a file holds them: matrices and kernels in float16, vectors as they are."""
    return {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value
        for name, value in ((name, value.contiguous()) for name, value in weights.items())
    }


def write(name: str, weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Writes a model into the cache, whole or not at all.

    Args:
        name: Name of the model.
        weights: Its state dict as `stored` gives it.
        description: What `find` and `describe` give back, with a `hash` of the model's recipe.
    """
    path = cache_dir() / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {**description, "digest": digest(weights)}
    with replacing(path) as partial:
        save_file(dict(weights), partial, metadata={KEY: json.dumps(described, allow_nan=False)})


def digest(weights: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that change with any bit of the weights."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def find(name: str, recipe: str) -> Path | None:
    """The file of a model that was made by this recipe: the cache's, else the shipped one.

    Args:
        name: Name of the model.
        recipe: The `hash` that its description must have; other files count as none.
    """
    for folder in (cache_dir(), shipped_dir()):
        path = folder / f"{name}.safetensors"
        if describe(path).get("hash") == recipe:
            return path
    return None


def describe(path: Path) -> dict[str, Any]:
    """The description in a file; empty for a file that is not there, or is broken."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})[KEY])
    except (FileNotFoundError, SafetensorError, KeyError):
        return {}


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a file."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
