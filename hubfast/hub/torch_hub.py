"""Entry points of torch.hub repositories, local folders or on GitHub."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hubfast.hub import imagenet
from hubfast.hub.errors import one_line
from hubfast.hub.model import Loading
from hubfast.hub.network import Network
from hubfast.hub.preprocessing import image_transform
from hubfast.hub.timm_models import from_module

WHY = "runs the repository's own Python code"
ADVICE = (
    "preprocessing: {input_size: 224, mean: [...], std: [...]} of this model in a hub file, or "
    "an attribute `transform` of what the entry point returns"
)


def load(name: str, loading: Loading) -> Network:
    """Loads the model of an entry point, with its trained weights.

    Args:
        name: `REPO/MODEL`; REPO is a folder with a hubconf.py, `OWNER/NAME` or `OWNER/NAME:REF`.
        loading: Must trust it: an entry point is code. `arguments` are those of the entry point;
            without any, `pretrained=True` or torchvision's `weights="DEFAULT"` if it has them.

    Raises:
        PermissionError: The repository is not trusted.
        FileNotFoundError: There is no such repository.
        RuntimeError, ValueError: There is no such entry point, or it fails.
    """
    repository, slash, model = name.rpartition("/")
    if not slash or not repository or not model:
        raise ValueError(f"torchhub must be torchhub:REPO/MODEL, got {name!r}")
    loading.require_trust(f"torchhub:{name}", WHY)
    folder = Path(repository)
    if not folder.is_dir():
        folder = _downloaded(repository)
    with _imported(folder) as hubconf:
        entry = getattr(hubconf, model, None)
        if not callable(entry) or model.startswith("_"):
            there = [n for n in dir(hubconf) if n[0] != "_" and callable(getattr(hubconf, n))]
            raise RuntimeError(f"{repository} has no entry point {model!r}, got {there}")
        module = entry(**(loading.arguments or _pretrained(entry)))
    if not isinstance(module, torch.nn.Module):
        raise RuntimeError(f"{model!r} of {repository} must return a module, got {type(module)}")
    if loading.preprocessing is not None:
        return Network(module, image_transform(loading.preprocessing))
    if isinstance(getattr(module, "pretrained_cfg", None), dict):
        return from_module(module)
    transform, accuracy = getattr(module, "transform", None), None
    if getattr(entry, "__module__", "").startswith("torchvision."):
        weights = loading.arguments.get("weights", "DEFAULT")
        from torchvision.models import get_model_weights

        transform = transform or get_model_weights(model)[weights].transforms()
        accuracy = imagenet.of_torchvision(model, weights)
    return Network(module, transform, imagenet=accuracy, advice=ADVICE)


def _pretrained(entry: Callable[..., Any]) -> dict[str, Any]:
    """Arguments that ask for trained weights: many entry points give random ones without."""
    parameters = inspect.signature(entry).parameters
    if "pretrained" in parameters:
        return {"pretrained": True}
    if "weights" in parameters and parameters["weights"].default is None:
        return {"weights": "DEFAULT"}
    return {}


def _downloaded(repository: str) -> Path:
    """The folder where torch.hub keeps a GitHub repository, fetched if it is not there."""
    address, _, ref = repository.partition(":")
    if address.count("/") != 1:
        raise FileNotFoundError(
            f"torch.hub repository not found: {repository!r} is no folder, nor OWNER/NAME"
        )
    refs = [ref.replace("/", "_")] if ref else ["main", "master"]
    start = address.replace("/", "_")
    folders = [Path(torch.hub.get_dir()) / f"{start}_{end}" for end in refs]
    if not any(folder.is_dir() for folder in folders):
        try:
            torch.hub.list(repository, trust_repo=True, verbose=False)
        except Exception as error:
            raise RuntimeError(
                f"{repository} could not be fetched ({one_line(error)}); "
                "without a network give a local folder: torchhub:FOLDER/MODEL"
            ) from error
    return next(folder for folder in folders if folder.is_dir())


@contextmanager
def _imported(folder: Path) -> Iterator[Any]:
    """hubconf.py as a module, with its folder importable.

    Modules of the repository are forgotten afterwards: the next one has a `models.py`, too.

    Raises:
        FileNotFoundError: There is no hubconf.py.
        RuntimeError: Packages that it needs are missing.
    """
    path = folder / "hubconf.py"
    if not path.exists():
        raise FileNotFoundError(f"torch.hub repository not found: no hubconf.py in {folder}")
    root, before = str(folder.resolve()), set(sys.modules)
    sys.path.insert(0, root)
    try:
        spec = importlib.util.spec_from_file_location("hubconf", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{path} is not Python")
        hubconf = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(hubconf)
        needed = getattr(hubconf, "dependencies", [])
        if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
            raise RuntimeError(f"{folder} needs packages that are not installed: {missing}")
        yield hubconf
    finally:
        sys.path.remove(root)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).resolve().is_relative_to(root):
                del sys.modules[name]
