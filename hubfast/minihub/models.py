"""The mini-hub's models: what they are, how they are trained, loading them."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubfast.minihub import files
from hubfast.minihub.tasks import source_images
from hubfast.minihub.training import PretrainingRecipe, prepare, quality, train
from hubfast.utils.extras import slow_import
from hubfast.utils.progress import progress_bar

VERSION = 2  # of the images, of training and of the files; a change retrains everything
SEED = 0
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Architectures, timm's names and options; their feature widths are 192, 96, 64, 128, 256 and 256.
RESNET: tuple[str, dict[str, Any]] = (
    "resnet10t",
    {"channels": (24, 48, 96, 192), "stem_width": 16},
)
SLIM: tuple[str, dict[str, Any]] = ("test_resnet", {})
VIT: tuple[str, dict[str, Any]] = (
    "test_vit",
    {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depth": 2, "num_heads": 2},
)
CONVNEXT: tuple[str, dict[str, Any]] = ("test_convnext2", {})
EFFICIENTNET: tuple[str, dict[str, Any]] = ("test_efficientnet", {})
BYOBNET: tuple[str, dict[str, Any]] = ("test_byobnet", {})


@dataclass(frozen=True)
class ModelSpec:
    """A timm model and how it was pre-trained."""

    name: str
    architecture: str
    options: str  # of timm.create_model, as JSON
    source: str  # source task
    note: str
    samples: int = 4500
    epochs: int = 3
    rate: float = 4e-3
    size: int = 32  # of its input, pixels
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET  # mean, std
    in_demo: bool = True

    @property
    def hash(self) -> str:
        """Changes with anything that changes the weights."""
        fields = {k: v for k, v in asdict(self).items() if k not in ("note", "in_demo")}
        text = json.dumps([VERSION, SEED, fields], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _spec(name: str, model: tuple[str, dict], source: str, note: str, **how: Any) -> ModelSpec:
    return ModelSpec(name, model[0], json.dumps(model[1]), source, note, **how)


MODELS = (
    _spec("resnet_letters", RESNET, "letters", "26 capital letters", epochs=4),
    _spec("resnet_digits", RESNET, "digits", "other people's handwritten digits", epochs=5),
    _spec("resnet_shapes", RESNET, "shapes", "8 filled shapes", samples=4000),
    _spec("resnet_textures", RESNET, "textures", "8 textures", samples=4000),
    _spec("slim_letters", SLIM, "letters", "26 capital letters"),
    _spec("efficientnet_shapes", EFFICIENTNET, "shapes", "8 filled shapes", rate=1e-2),
    _spec(
        "byobnet_digits",
        BYOBNET,
        "digits",
        "other people's digits at 40 pixels",
        size=40,
        epochs=5,
        rate=8e-3,
    ),
    _spec("vit_textures", VIT, "textures", "8 textures", rate=2e-3, normalisation=HALF),
    _spec("resnet_noise", RESNET, "noise", "poor on purpose: random labels", samples=3000),
    _spec("convnext_hasty", CONVNEXT, "shapes", "poor on purpose: 500 samples", samples=500),
    _spec("resnet_fonts", RESNET, "fonts", "8 fonts", epochs=6, in_demo=False),
    _spec("slim_digits", SLIM, "digits", "other people's digits", epochs=5, in_demo=False),
    _spec(
        "efficientnet_fonts", EFFICIENTNET, "fonts", "8 fonts", rate=1e-2, epochs=8, in_demo=False
    ),
    _spec("byobnet_letters", BYOBNET, "letters", "26 letters", size=40, epochs=8, in_demo=False),
    _spec("vit_shapes", VIT, "shapes", "8 filled shapes", rate=2e-3, epochs=6, in_demo=False),
    _spec("convnext_textures", CONVNEXT, "textures", "8 textures", epochs=12, in_demo=False),
)


def model_names(*, full: bool = False) -> list[str]:
    """Names of the models, those of the demo or all."""
    return [spec.name for spec in MODELS if full or spec.in_demo]


def build(
    names: Sequence[str] | None = None,
    *,
    full: bool = False,
    rebuild: bool = False,
    progress: bool = True,
) -> Path:
    """Trains the models that are neither shipped nor in the cache, and returns the cache's folder.

    Each is written when it is done, so an interrupted build goes on where it stopped.

    Args:
        names: Names of the models; None for the demo's, or all with `full`.
        full: All models, of which only the demo's are shipped.
        rebuild: Train all of them again; the cache's files then come before the shipped ones.
        progress: Show a bar with the time left.

    Raises:
        ValueError: Unknown name.
    """
    specs = [spec_of(name) for name in (model_names(full=full) if names is None else names)]
    missing = [spec for spec in specs if rebuild or not is_built(spec)]
    draw = lru_cache(maxsize=2)(source_images)
    with progress_bar(progress and bool(missing)) as bars:
        task = bars.add_task("", total=sum(spec.epochs for spec in missing))
        for spec in sorted(missing, key=lambda s: s.source):
            bars.update(task, description=f"training {spec.name} on {spec.source}")
            train_model(spec, draw, lambda: bars.advance(task))
    return files.cache_dir()


def train_model(
    spec: ModelSpec,
    draw: Callable[[str, int, int], tuple[np.ndarray, np.ndarray, int]] = source_images,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Trains one model and writes it to the cache."""
    started = time.perf_counter()
    images, labels, classes = draw(spec.source, spec.samples, SEED)
    torch.manual_seed(SEED)
    model = _create(spec, classes)
    inputs, targets = prepare(model, images), torch.from_numpy(labels)
    train(
        model,
        inputs,
        targets,
        "classification",
        PretrainingRecipe(spec.epochs, spec.rate, batch_size=32),
        SEED,
        advance,
    )
    weights = files.stored(model.state_dict())
    model.load_state_dict(weights)  # what will be loaded is what is measured
    described = {
        "hash": spec.hash,
        "spec": asdict(spec),
        "classes": classes,
        "accuracy": quality(model, inputs, targets, "classification"),  # on its training set
        "seconds": time.perf_counter() - started,
    }
    files.write(spec.name, weights, described)


def load(name: str) -> nn.Module:
    """A trained model in eval mode, its preprocessing in `pretrained_cfg`; see `build`.

    Raises:
        ValueError: Unknown name.
        FileNotFoundError: The model is neither shipped nor built yet.
    """
    path = _file_of(name)
    model = _create(spec_of(name), files.describe(path)["classes"])
    model.load_state_dict(files.read(path))
    return model.eval()


def is_shipped(name: str) -> bool:
    """Whether `load` gives the weights that come with hubfast; errors as `load` raises."""
    return _file_of(name).parent == files.shipped_dir()


def digest_of(name: str) -> str:
    """Digits that tell the very weights that `load` gives; errors as `load` raises."""
    return str(files.describe(_file_of(name))["digest"])


def _file_of(name: str) -> Path:
    path = files.find(name, spec_of(name).hash)
    if path is None:
        where = files.cache_dir()
        raise FileNotFoundError(f"{name} is not built in {where}; call minihub.build()")
    return path


def is_built(spec: ModelSpec) -> bool:
    """Whether this very model is shipped or in the cache; a broken or outdated file is none."""
    return files.find(spec.name, spec.hash) is not None


def spec_of(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        ValueError: There is none.
    """
    for spec in MODELS:
        if spec.name == name:
            return spec
    raise ValueError(f"model must be one of {model_names(full=True)}, got {name!r}")


def _create(spec: ModelSpec, classes: int) -> nn.Module:
    timm = slow_import("timm")

    model: Any = timm.create_model(
        spec.architecture, pretrained=False, num_classes=classes, **json.loads(spec.options)
    )
    mean, std = spec.normalisation
    model.pretrained_cfg = {
        **model.pretrained_cfg,
        "architecture": spec.name,
        "input_size": (3, spec.size, spec.size),
        "mean": mean,
        "std": std,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "num_classes": classes,
    }
    return model
