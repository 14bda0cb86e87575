"""The target task: samples with targets.

A sample is an image (PIL, or an array of whole numbers) or of text, which every model prepares in
its own way, or an array of floats, which models take as it is; `hubfast.data.pixels` has the rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.data.clusters import clustered_order, whole_clusters
from hubfast.data.images import opened
from hubfast.data.pixels import Pixels
from hubfast.data.texts import as_text, is_text
from hubfast.scores.inputs import Task


@dataclass(frozen=True, eq=False)
class TargetData:
    """The target task: `len(data)` samples with targets. Build it with `as_target_data`."""

    name: str
    samples: Sequence[Any] | None  # read by position; None where only targets are known
    targets: Tensor  # (n,) int64 classes, or (n, C) float64
    task: Task
    class_names: tuple[str, ...] | None = None
    positions: Tensor | None = None  # positions of this subset in `samples`; None for all of them
    names: Sequence[str] | None = None  # of the samples, such as paths; None: they have none
    notes: tuple[str, ...] = ()  # what a reader of results should know of this data
    pixels: Pixels = field(default_factory=Pixels)  # how images of any kind become RGB

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        """Gives the sample at `index`: an RGB image of 8 bits, a string or a float tensor.

        Raises:
            ValueError, TypeError, OSError: There are no samples, or this one cannot be read; the
                message names it.
        """
        try:
            return self.pixels.prepared(self.stored(index))
        except Exception as error:  # decoders raise whatever their format makes them
            name = self.name_of(index)
            if name in str(error) or self.samples is None:
                raise
            kinds = (TypeError, OSError)
            kind = next((kind for kind in kinds if isinstance(error, kind)), ValueError)
            raise kind(f"{name}: {error}") from error

    def stored(self, index: int) -> Any:
        """The sample at `index` as the data keeps it, an encoded image opened."""
        if self.samples is None:
            without = f"data {self.name!r} has targets only, no samples to run a model on"
            raise ValueError("; ".join([without, *self.notes]))
        sample = self.samples[index if self.positions is None else int(self.positions[index])]
        sample = as_text(sample)
        if isinstance(sample, tuple) and not is_text(sample):  # (sample, target) of a Dataset
            sample = as_text(sample[0])
        return opened(sample) if isinstance(sample, bytes | Mapping | Path) else sample

    def name_of(self, index: int) -> str:
        """What the sample at `index` is called: its path, or its number in the full data."""
        row = int(self.rows()[index])
        return f"sample {row}" if self.names is None else self.names[row]

    def rows(self) -> Tensor:
        """Positions of the samples in the full data set, `(n,)` int64."""
        return torch.arange(len(self), device="cpu") if self.positions is None else self.positions

    @property
    def clusters(self) -> Tensor | None:
        """Which samples belong together, `(n,)`; None where each is drawn by itself.

        Words of one sentence have one number.
        """
        whole: Tensor | None = getattr(self.samples, "clusters", None)
        return None if whole is None else whole[self.rows()]

    def subset(self, index: Tensor) -> "TargetData":
        """Takes the samples at `index`."""
        return replace(self, targets=self.targets[index], positions=self.rows()[index])

    def sample(self, count: int | None, seed: int = 0) -> "TargetData":
        """Draws `count` samples, classes in proportion; takes all for None or count >= n."""
        if count is None or count >= len(self):
            return self
        return self.split(count, seed)[0]

    def split(self, first: int | float, seed: int = 0) -> tuple["TargetData", "TargetData"]:
        """Splits at random into two parts, classes in proportion where both can have every class.

        Args:
            first: Number of samples in the first part, or its share if a float below 1.
            seed: Seed of the split; the same one gives the same parts. Clusters stay whole: the
                first part has `first` samples, or those of the last cluster more.

        Raises:
            ValueError: `first` leaves a part empty.
        """
        from sklearn.model_selection import train_test_split  # slow to import

        count = round(first * len(self)) if isinstance(first, float) and first < 1 else int(first)
        if not 0 < count < len(self):
            raise ValueError(f"first must leave both parts samples of {len(self)}, got {first}")
        if (clusters := self.clusters) is not None:
            order = clustered_order(clusters, seed)
            cut = whole_clusters(clusters[order], count)
            if cut == len(self):
                raise ValueError(f"first must leave both parts whole clusters, got {first}")
            return self.subset(order[:cut].sort().values), self.subset(order[cut:].sort().values)
        classes = self.targets.numpy() if self.task == "classification" else None
        if classes is not None:
            sizes = np.unique(classes, return_counts=True)[1]
            if sizes.min() < 2 or min(count, len(self) - count) < len(sizes):
                classes = None
        index = np.arange(len(self))
        a, b = train_test_split(index, train_size=count, random_state=seed, stratify=classes)
        return self.subset(torch.from_numpy(np.sort(a))), self.subset(torch.from_numpy(np.sort(b)))

    def __repr__(self) -> str:
        what = f"{len(self.targets.unique())} classes" if self.targets.ndim == 1 else self.task
        return f"TargetData({self.name!r}, n={len(self)}, {what})"
