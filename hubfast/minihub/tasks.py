"""The mini-hub's tasks: sources, on which its models were trained, and scarce targets."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hubfast.minihub.images import SHAPES, TEXTURES, bar, digit, glyph, shape, texture

SOURCE_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
FONT_CLASSES = (*SOURCE_FONTS, "DejaVuSans-Oblique", "cmtt10", "cmb10")
TARGET_FONTS = ("cmr10", "cmss10", "cmtt10", "STIXGeneralItalic", "DejaVuSerif-Italic")
LETTERS = string.ascii_uppercase
LOWER = "abdefghmnqrt"
DIGITS_FOR_SOURCES = 1000  # The other 797 of scikit-learn's digits are the target's.
SOURCES = ("letters", "fonts", "shapes", "textures", "digits", "noise")


@dataclass(frozen=True)
class TargetSpec:
    """How a target task is drawn.

    Attributes:
        name: Name of the task.
        kind: What the targets are.
        note: What the images show, in words.
        train: Number of training samples in all.
        test: Number of test samples in all.
        in_demo: Whether `hubfast demo` ranks on this task.
    """

    name: str
    kind: Literal["classification", "regression"]
    note: str
    train: int
    test: int
    in_demo: bool = False


TARGETS = (
    TargetSpec("handwritten", "classification", "handwritten digits", 100, 600, in_demo=True),
    TargetSpec("lowercase", "classification", "12 lower-case letters in unseen fonts", 180, 600),
    TargetSpec("outlines", "classification", "shapes drawn as outlines", 120, 600),
    TargetSpec("weaves", "classification", "textures of a finer period", 120, 600),
    TargetSpec("angle", "regression", "angle of a bar in degrees, 0 to 90", 200, 600),
)


@dataclass(frozen=True, eq=False)
class Target:
    """A scarce target task with a test set of its own."""

    name: str
    kind: Literal["classification", "regression"]
    images: np.ndarray  # (n, 32, 32, 3) uint8
    targets: np.ndarray  # (n,) int64 or float64
    test_images: np.ndarray
    test_targets: np.ndarray
    class_names: tuple[str, ...] | None


def target_names() -> list[str]:
    """Names of the target tasks."""
    return [spec.name for spec in TARGETS]


def load_target(name: str) -> Target:
    """Draws a target task; a name gives the same samples each time.

    Raises:
        ValueError: No target task has this name.
    """
    found = [spec for spec in TARGETS if spec.name == name]
    if not found:
        raise ValueError(f"target must be one of {target_names()}, got {name!r}")
    spec = found[0]
    rng = np.random.default_rng([7, target_names().index(name)])
    draw, classes = _target_renderer(name, rng)
    total = spec.train + spec.test
    if classes is None:
        targets = rng.uniform(0, 90, total)
    else:  # Training and test part each have equal numbers of every class.
        targets = np.concatenate([np.arange(n) % len(classes) for n in (spec.train, spec.test)])
    images = np.stack([draw(rng, value) for value in targets])
    cut = spec.train
    return Target(
        name, spec.kind, images[:cut], targets[:cut], images[cut:], targets[cut:], classes
    )


def source_images(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Draws `count` training samples of a source task.

    Returns:
        Images `(count, 32, 32, 3)` uint8, labels `(count,)` int64, and the number of classes.

    Raises:
        ValueError: No source task has this name.
    """
    if name not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, got {name!r}")
    rng = np.random.default_rng([seed, SOURCES.index(name)])
    draw, classes = _source_renderer(name)
    labels = rng.integers(0, classes, count)
    images = np.stack([draw(rng, label) for label in labels])
    if name == "noise":
        labels = rng.permutation(labels)
    return images, labels, classes


Renderer = Callable[[np.random.Generator, int], np.ndarray]


def _source_renderer(name: str) -> tuple[Renderer, int]:
    match name:
        case "letters":
            return lambda rng, c: glyph(rng, LETTERS[c], str(rng.choice(SOURCE_FONTS))), 26
        case "fonts":
            return lambda rng, c: glyph(rng, str(rng.choice(list(LETTERS))), FONT_CLASSES[c]), 8
        case "digits":
            pool = _digits(slice(DIGITS_FOR_SOURCES))
            return lambda rng, c: digit(rng, rng.choice(pool[c])), 10
        case "textures":
            return lambda rng, c: texture(rng, TEXTURES[c]), len(TEXTURES)
        case _:  # "shapes", and "noise", whose labels `source_images` shuffles
            return lambda rng, c: shape(rng, SHAPES[c]), len(SHAPES)


def _target_renderer(name: str, rng: np.random.Generator) -> tuple[Callable, tuple | None]:
    match name:
        case "handwritten":
            queues = {c: iter(p) for c, p in enumerate(_digits(slice(DIGITS_FOR_SOURCES, None)))}
            return lambda rng, c: digit(rng, next(queues[c])), tuple(string.digits)
        case "lowercase":
            return lambda rng, c: glyph(rng, LOWER[c], str(rng.choice(TARGET_FONTS))), tuple(LOWER)
        case "outlines":
            return lambda rng, c: shape(rng, SHAPES[c], outline=True, noise=30), SHAPES
        case "weaves":
            return lambda rng, c: texture(rng, TEXTURES[c], period=(3.2, 5), noise=45), TEXTURES
        case _:
            return bar, None


def _digits(part: slice) -> list[np.ndarray]:
    """One array `(n, 8, 8)` per class, of the part of scikit-learn's digits that `part` selects."""
    from sklearn.datasets import load_digits  # slow to import

    data = load_digits()
    images, labels = data.images[part], data.target[part]
    return [images[labels == c] for c in range(10)]
