"""Feature points: which layer of a model, pooled in which way, gives its features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hubfast.utils.names import brief

Layer = str | int  # one of WORDS, or the number of a layer
WORDS = ("last", "mean", "all")
POOLINGS = ("auto", "cls", "mean", "last", "max")


class FeaturePoint(NamedTuple):
    """One feature point."""

    layer: str  # "last", "mean" for the mean over all layers, or the number of a layer
    pooling: str

    def __str__(self) -> str:
        return f"{self.layer}/{self.pooling}"


LAST = FeaturePoint("last", "auto")  # what a model gives unless one asks for something else


@dataclass(frozen=True)
class AskedPoints:
    """The feature points that a user asks for: each pooling of each layer.

    Attributes:
        layers: `"last"`, `"mean"`, `"all"` or numbers: 1 is the first layer, -1 the last one, and
            0 what enters the first one.
        pooling: Some of `POOLINGS`.
    """

    layers: tuple[Layer, ...] = ("last",)
    pooling: tuple[str, ...] = ("auto",)

    @classmethod
    def of(cls, layers: Any, pooling: Any) -> "AskedPoints":
        """Makes them of what a user gives: one of them, or several.

        Raises:
            ValueError, TypeError: `layers` or `pooling` is something else.
        """
        found = _several(layers, "layers")
        for one in found:
            if isinstance(one, bool) or not isinstance(one, str | int):
                raise TypeError(f"layers must be of {WORDS} or whole numbers, got {brief(one)}")
            if isinstance(one, str) and one not in WORDS:
                raise ValueError(f"layers must be of {WORDS} or whole numbers, got {brief(one)}")
        ways = _several(pooling, "pooling")
        for one in ways:
            if one not in POOLINGS:
                raise ValueError(f"pooling must be of {POOLINGS}, got {brief(one)}")
        return cls(found, ways)

    def __str__(self) -> str:
        return f"layers={','.join(map(str, self.layers))} pooling={','.join(self.pooling)}"

    @property
    def default(self) -> bool:
        """Whether nothing is asked for but what every model gives."""
        return set(self.layers) <= {"last", -1} and set(self.pooling) == {"auto"}

    @property
    def with_last(self) -> bool:
        """Whether what every model gives is among them."""
        return bool({"last", "all", -1} & set(self.layers)) and "auto" in self.pooling

    def poolings(self, own: str) -> tuple[str, ...]:
        """How inner layers are pooled, `own` being the model's own way."""
        return (*dict.fromkeys(own if one == "auto" else one for one in self.pooling),)

    def points(self, count: int, own: str) -> tuple[FeaturePoint, ...]:
        """The points of a model, what every model gives first; numbers that it lacks are there.

        Args:
            count: How many layers the model has.
            own: How it pools by itself: what `"auto"` means at all layers but the last.
        """
        layers = [name for one in self.layers for name in _names(one, count)]
        found = [
            FeaturePoint(layer, own if pooling == "auto" and layer != "last" else pooling)
            for layer in layers
            for pooling in self.pooling
        ]
        return (*dict.fromkeys([LAST] * (LAST in found) + found),)


@dataclass(frozen=True)
class PointColumns:
    """Which columns of a tensor `(b, sum of widths)` are of which point.

    Attributes:
        points: The points.
        widths: How many columns each has, in this order.
        dtypes: The number type of each.
        layers: How many layers the model has.
        notes: What the user should know: which points the model does not have.
    """

    points: tuple[FeaturePoint, ...]
    widths: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    layers: int
    notes: tuple[str, ...] = ()


class PointsError(ValueError):
    """A model has none of the points that are asked for."""


def only_last(asked: AskedPoints, width: int, dtype: torch.dtype) -> PointColumns:
    """The point of a model whose layers cannot be told, such as a callable or stored features.

    Raises:
        PointsError: It is not among those that are asked for.
    """
    why = "its layers cannot be told, so that it has one feature point"
    if not asked.with_last:
        raise PointsError(f"{asked}: {why}; layers='last' and pooling='auto' ask for it")
    return PointColumns((LAST,), (width,), (dtype,), 0, () if asked.default else (why,))


def _several(given: Any, name: str) -> tuple[Any, ...]:
    found = (*given,) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if not found:
        raise ValueError(f"{name} must be at least one, got {brief(given)}")
    return (*dict.fromkeys(found),)


def _names(layer: Layer, count: int) -> list[str]:
    """Names of the layers that an entry of `AskedPoints.layers` asks for."""
    if layer == "all":
        return [*map(str, range(1, count)), "last"]
    if isinstance(layer, int):
        number = count + 1 + layer if layer < 0 else layer
        return ["last" if number == count or layer == -1 else str(number)]
    return [layer]
