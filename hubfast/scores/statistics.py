"""FeatureStatistics: all that the scores need of a feature matrix, in memory that N does not grow.

Everything is a sum over samples in float64, so batches, shards and machines merge by `+`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hubfast import ops
from hubfast.scores import statistics_file
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.scale import covering, largest_of, times_power_of_two
from hubfast.scores.target_sums import target_sums, with_more_classes
from hubfast.utils.threads import one_torch_thread

BLOCK = 1024  # rows in float64 at a time: they stay in cache, and keep BLAS busy


class FeatureStatistics:
    """Sums over the samples seen so far; `update` adds samples, `a + b` merges.

    While no more than D samples were seen, the rows themselves are kept (they are fewer numbers
    than F'F), and the scores take the cheaper n x n side.

    Args:
        task: `"classification"`, `"multilabel"`, `"regression"`, or None to tell from the
            first targets (integers are classes, floats regression).

    Attributes:
        count: Samples n.
        width: Feature width D, None before the first update.
        classes: Class ids seen, `(C,)` int64 ascending; None unless classification.
        feature_sum: `(D,)`, sum of x.
        cross: `(C, D)`: sum of y x', for classes the sum of x over the class.
        target_sum, target_square_sum: `(C,)`; both the class counts for classification.
        resolution: Machine epsilon of the coarsest float type that features came in.
        cubic, quartic: Sum of |x|^2 x `(D,)` and of |x|^4, for shrinkage estimates.
        exponent: The sums are of features divided by 2^exponent; see `hubfast.scores.scale`.
    """

    def __init__(self, task: Task | None = None):
        self.task, self.count = task, 0
        self.width: int | None = None
        self.resolution = 0.0
        self.exponent, self.largest = 0, 0.0
        self.classes: Tensor | None = None
        self._gram: Tensor | None = None  # upper triangle only
        self._rows: list[Tensor] = []  # float64, not yet in the Gram matrix
        self._row_targets: list[Tensor] = []

    def update(self, features: Any, targets: Any) -> "FeatureStatistics":
        """Adds samples: `features` (n, D), `targets` (n,) or (n, C). Returns self.

        Raises:
            TypeError, ValueError: Bad input, before anything is added.
        """
        x = as_features(features, width=self.width)
        y, task = as_targets(targets, len(x), self.task)
        y = y.to(x.device)
        if task != "classification" and self.width is not None and y.shape[1] != len(self.cross):
            raise ValueError(f"targets must have {len(self.cross)} columns, got {y.shape[1]}")
        self.task = task
        if self.width is None:
            self._start(x, y)
        self.resolution = max(self.resolution, torch.finfo(x.dtype).eps)
        vars(self).update(covering(vars(self), largest_of(x)))
        if task == "classification":
            self._add_classes(y)
        with one_torch_thread():
            if sum(map(len, self._rows)) + len(x) > x.shape[1]:
                self._fold()
            for start in range(0, len(x), BLOCK):
                block = slice(start, start + BLOCK)
                self._add(times_power_of_two(x[block].double(), -self.exponent), y[block])
        return self

    def relabel(self, features: Any, old: Any, new: Any) -> "FeatureStatistics":
        """Replaces targets `old` of already counted samples by `new`; F'F is not touched.

        Exact: the result is that of a fresh pass with the new targets. Returns self.
        """
        if self.width is None:
            raise ValueError("no samples were counted yet")
        x = times_power_of_two(as_features(features, width=self.width).double(), -self.exponent)
        before, _ = as_targets(old, len(x), self.task)
        after, _ = as_targets(new, len(x), self.task)
        if self.classes is not None:
            unknown = before[~torch.isin(before, self.classes.to(before.device))]
            if len(unknown):
                raise ValueError(f"old must hold counted classes, got {unknown.unique().tolist()}")
            self._add_classes(after)
        self._fold()
        for targets, sign in ((before, -1.0), (after, 1.0)):
            self._add_targets(x, targets.to(x.device), sign)
        return self

    def __add__(self, other: "FeatureStatistics") -> "FeatureStatistics":
        if not isinstance(other, FeatureStatistics):
            return NotImplemented
        merged = self.copy(other.largest)
        if other.width is None:
            return merged
        if merged.width is None:
            return other.copy()
        if (merged.width, merged.task) != (other.width, other.task):
            pair = f"{other.width} for {other.task} to width {merged.width} for {merged.task}"
            raise ValueError(f"cannot add statistics of width {pair}")
        if other.exponent != merged.exponent:
            other = other.copy(merged.largest)
        if other.classes is not None:
            merged._add_classes(other.classes)
            index = torch.searchsorted(merged.classes, other.classes)  # type: ignore[arg-type]
        else:
            if len(merged.cross) != len(other.cross):
                raise ValueError(f"{len(other.cross)} target columns, not {len(merged.cross)}")
            index = torch.arange(len(other.cross), device=other.cross.device)
        for name in ("cross", "target_sum", "target_square_sum"):
            getattr(merged, name).index_add_(0, index, getattr(other, name))
        for name in ("feature_sum", "cubic", "quartic"):
            getattr(merged, name).add_(getattr(other, name))
        merged.count += other.count
        merged.resolution = max(merged.resolution, other.resolution)
        if other._gram is not None:
            merged._gram = other._gram + (0 if merged._gram is None else merged._gram)
        merged._rows += other._rows
        merged._row_targets += other._row_targets
        if merged._gram is not None or sum(map(len, merged._rows)) > merged.width:
            merged._fold()
        return merged

    @property
    def gram(self) -> Tensor:
        """F'F `(D, D)`; only the upper triangle is defined."""
        return self._fold()

    @property
    def square_sums(self) -> Tensor:
        """Sum of every feature's square, `(D,)`."""
        if self._gram is not None:
            return self._gram.diagonal()
        return torch.stack([rows.square().sum(0) for rows in self._rows]).sum(0)

    @property
    def rows(self) -> tuple[Tensor, Tensor] | None:
        """All features (n, D) float64 and targets while n <= D, else None."""
        if self._gram is not None or not self._rows:
            return None
        if len(self._rows) > 1:
            self._rows = [torch.cat(self._rows)]
            self._row_targets = [torch.cat(self._row_targets)]
        return self._rows[0], self._row_targets[0]

    def copy(self, largest: float = 0.0) -> "FeatureStatistics":
        """An independent copy, in whose scale features of this absolute value are ordinary."""
        twin = FeatureStatistics(self.task)
        for name, value in vars(self).items():
            copied = value.clone() if isinstance(value, Tensor) else value
            setattr(twin, name, list(value) if isinstance(value, list) else copied)
        vars(twin).update(covering(vars(twin), largest))
        return twin

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that it holds: tensors, and facts that JSON can hold; `of_state` reads them.

        Raises:
            ValueError: No samples were counted yet.
        """
        if self.width is None:
            raise ValueError("nothing to save: no samples were counted yet")
        if self.rows is None:
            self._fold()
        return statistics_file.packed(vars(self))

    @classmethod
    def of_state(
        cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: str = "cpu"
    ) -> "FeatureStatistics":
        """The statistics whose `state` this is, on `device`."""
        stats = cls()
        vars(stats).update(statistics_file.unpacked(tensors, facts, device))
        return stats

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file, which `load` reads."""
        statistics_file.write(path, *self.state())

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "FeatureStatistics":
        """Reads what `save` wrote.

        Raises:
            ValueError: Another kind of file.
        """
        return cls.of_state(*statistics_file.read(path, device), device)

    def __repr__(self) -> str:
        columns = 0 if self.width is None else len(self.cross)
        return f"FeatureStatistics(n={self.count}, D={self.width}, C={columns}, {self.task})"

    def _start(self, x: Tensor, y: Tensor) -> None:
        self.width = x.shape[1]
        columns = 0 if y.ndim == 1 else y.shape[1]
        zeros = torch.zeros(columns + 1, self.width, dtype=torch.float64, device=x.device)
        self.feature_sum, self.cubic, self.quartic = zeros[0], zeros[0].clone(), zeros[0, 0].clone()
        self.cross = zeros[1:].clone()
        self.target_sum, self.target_square_sum = zeros[1:, 0].clone(), zeros[1:, 0].clone()
        if y.ndim == 1:
            self.classes = torch.empty(0, dtype=torch.int64, device=x.device)

    def _add_classes(self, targets: Tensor) -> None:
        assert self.classes is not None
        seen = torch.cat([self.classes, targets.to(self.classes.device)]).unique()
        if len(seen) == len(self.classes):
            return
        index = torch.searchsorted(seen, self.classes)
        for name in ("cross", "target_sum", "target_square_sum"):
            setattr(self, name, with_more_classes(getattr(self, name), index, len(seen)))
        self.classes = seen

    def _add(self, x: Tensor, y: Tensor) -> None:
        total, cubic = torch.zeros_like(self.feature_sum), torch.zeros_like(self.cubic)
        self.quartic += ops.add_moments(x, total, cubic)
        self.count += len(x)
        self.feature_sum += total
        self.cubic += cubic
        self._add_targets(x, y, 1.0)
        if self._gram is not None:
            ops.add_gram(self._gram, x)
            return
        self._rows.append(x.clone())  # not in the caller's buffer
        self._row_targets.append(y.clone())

    def _add_targets(self, x: Tensor, y: Tensor, sign: float) -> None:
        cross, total, squares = target_sums(x, y, self.classes)
        self.cross += sign * cross
        self.target_sum += sign * total
        self.target_square_sum += sign * squares

    def _fold(self) -> Tensor:
        """Moves the kept rows into the Gram matrix, and gives that."""
        if self._gram is None:
            self._gram = self.cross.new_zeros([self.width or 0] * 2)
        for rows in self._rows:
            ops.add_gram(self._gram, rows)
        self._rows, self._row_targets = [], []
        return self._gram
