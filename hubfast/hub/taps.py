"""All feature points of a model from one pass: each layer is pooled as it comes, and not held."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from hubfast.hub.points import LAST, AskedPoints, FeaturePoint, PointColumns, PointsError
from hubfast.hub.pooling import PoolingError

Run = Callable[[Any], tuple[Tensor, Tensor | None]]


class Layers(Protocol):
    """Where the hidden states of a model are to be had."""

    own: str  # how the model pools by itself: what "auto" means at inner layers

    def heard(self, by: "Hearer") -> AbstractContextManager[object]:
        """While it is open, the hidden states of a forward pass are handed to `by`."""
        ...

    def pooled(self, hidden: Tensor, pooling: str, inputs: Any) -> Tensor:
        """A hidden state as `(b, D)` float32, for the inputs that it is of.

        Raises:
            PoolingError: It cannot be pooled so.
        """
        ...


class Hearer(Protocol):
    """What takes the hidden states of a forward pass."""

    def take(self, hidden: Tensor, *, initial: bool = False) -> None:
        """Takes what the next layer gives, or, if `initial`, what enters the first one."""
        ...

    def end(self, hidden: Tensor, *, further: bool = False) -> None:
        """Takes what the model gives in the end, as it enters the head.

        Args:
            hidden: The last hidden state.
            further: Whether it is that of one more layer, and not of the one taken last.
        """
        ...


class Taps:
    """Gives the points of a model that are asked for, as columns of one tensor of features.

    Args:
        asked: The points.
        layers: Where the hidden states of the model are to be had.

    Attributes:
        columns: Which columns are of which point; None before the first pass.
    """

    def __init__(self, asked: AskedPoints, layers: Layers):
        self.asked, self.layers = asked, layers
        self.columns: PointColumns | None = None

    def around(self, run: Run) -> Run:
        """The same forward pass with all points in the place of the features.

        Args:
            run: Gives features `(b, D)` and maybe logits of a batch.
        """

        def tapped(inputs: Any) -> tuple[Tensor, Tensor | None]:
            seen = _Pass(self.asked, self.layers, inputs, self.columns)
            with self.layers.heard(seen):
                features, logits = run(inputs)
            seen.found[LAST] = features
            if self.columns is None:
                self.columns = seen.columns()
            return torch.cat([seen.found[point] for point in self.columns.points], 1), logits

        return tapped


class _Pass:
    """What one forward pass gives, of all layers while it is not known how many there are."""

    def __init__(self, asked: AskedPoints, layers: Layers, inputs: Any, known: PointColumns | None):
        self.asked, self.layers, self.inputs, self.known = asked, layers, inputs, known
        self.found: dict[FeaturePoint, Tensor] = {}
        self.lacking: dict[str, str] = {}  # pooling or layer: why it is not to be had
        self.count = 0
        self.ended = False
        self._sum: Tensor | None = None  # over the layers so far
        self._before: Tensor | None = None  # over those before the one taken last
        self._even = True

    def take(self, hidden: Tensor, *, initial: bool = False) -> None:
        self.count += not initial
        self._pool(str(self.count), hidden)
        if "mean" in self.asked.layers and not initial:
            self._before, self._sum = self._sum, self._plus(self._sum, hidden)

    def end(self, hidden: Tensor, *, further: bool = False) -> None:
        self.ended, self.count = True, self.count + further
        self._pool("last", hidden)
        if "mean" in self.asked.layers and self.count:
            whole = self._plus(self._sum if further else self._before, hidden)
            if whole is not None:
                self._pool("mean", whole / self.count)

    def columns(self) -> PointColumns:
        """Which of the points are there.

        Raises:
            PointsError: None is.
        """
        asked = self.asked.points(self.count, self.layers.own)
        points = [point for point in asked if point in self.found]
        notes = (*dict.fromkeys(self._why(point) for point in asked if point not in self.found),)
        if not points:
            raise PointsError(f"{self.asked}: the model has no such point: {'; '.join(notes)}")
        tensors = [self.found[point] for point in points]
        return PointColumns(
            (*points,),
            (*(x.shape[1] for x in tensors),),
            (*(x.dtype for x in tensors),),
            self.count,
            notes,
        )

    def _pool(self, layer: str, hidden: Tensor) -> None:
        for pooling in self.asked.poolings(self.layers.own):
            point = FeaturePoint(layer, pooling)
            if self.known is not None and point not in self.known.points:
                continue
            try:
                self.found[point] = self.layers.pooled(hidden, pooling, self.inputs)
            except PoolingError as error:
                if self.known is not None:
                    raise
                self.lacking.setdefault(pooling, str(error))

    def _plus(self, total: Tensor | None, hidden: Tensor) -> Tensor | None:
        """The sum with one more layer; None where layers differ in shape."""
        self._even = self._even and (total is None or total.shape == hidden.shape)
        if not self._even:
            return None
        return hidden.float() if total is None else total + hidden.float()

    def _why(self, point: FeaturePoint) -> str:
        """Why the model does not have a point."""
        layer, pooling = point
        if layer not in ("last", "mean") and int(layer) not in range(self.count + 1):
            has = f"1 to {self.count}" if self.count else "that cannot be told"
            return f"no layer {layer}: it has layers {has}"
        if pooling in self.lacking:
            return f"no pooling {pooling!r}: {self.lacking[pooling]}"
        if layer == "mean" and self.count:
            return "no mean over all layers: they differ in shape"
        return f"no layer {layer}: its hidden states cannot be had"
