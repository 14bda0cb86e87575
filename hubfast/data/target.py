"""The target task: samples with targets.

A sample is an image (PIL, or a uint8 array (H, W) or (H, W, 3)) or a text, which every model
prepares in its own way, or a float tensor, which models take as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hubfast.scores.inputs import Task


@dataclass(frozen=True, eq=False)
class TargetData:
    """The target task: `len(data)` samples with targets. Build it with `as_target_data`."""

    name: str
    samples: Sequence[Any] | None  # read by position; None where only targets are known
    targets: Tensor  # (n,) int64 classes, or (n, C) float64
    task: Task
    class_names: tuple[str, ...] | None = None
    positions: Tensor | None = None  # of this subset in `samples`; None for all of them
    names: Sequence[str] | None = None  # of the samples, such as paths; None: they have none
    notes: tuple[str, ...] = ()  # what a reader of results should know of this data

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        """The sample at `index`: a PIL image, a string or a float tensor."""
        if self.samples is None:
            raise ValueError(f"data {self.name!r} has targets only, no samples to run a model on")
        sample = self.samples[index if self.positions is None else int(self.positions[index])]
        if isinstance(sample, tuple | list):  # (sample, target) of a torch Dataset
            sample = sample[0]
        if isinstance(sample, str):
            return sample
        if isinstance(sample, Image.Image):
            return sample.convert("RGB")
        array = sample.numpy() if isinstance(sample, Tensor) else np.asarray(sample)
        if array.dtype == np.uint8:
            return _image(array)
        return torch.as_tensor(array, dtype=torch.float32)

    def name_of(self, index: int) -> str:
        """What the sample at `index` is called: its path, or its number in the full data."""
        row = int(self.rows()[index])
        return f"sample {row}" if self.names is None else self.names[row]

    def rows(self) -> Tensor:
        """Positions of the samples in the full data set, `(n,)` int64."""
        return torch.arange(len(self)) if self.positions is None else self.positions

    def subset(self, index: Tensor) -> "TargetData":
        """The samples at `index`."""
        return replace(self, targets=self.targets[index], positions=self.rows()[index])

    def sample(self, count: int | None, seed: int = 0) -> "TargetData":
        """`count` samples at random, classes in proportion; all of them for None or count >= n."""
        if count is None or count >= len(self):
            return self
        return self.split(count, seed)[0]

    def split(self, first: int | float, seed: int = 0) -> tuple["TargetData", "TargetData"]:
        """Two disjoint parts at random, classes in proportion where both can have every class.

        Args:
            first: Samples of the first part, or its share if a float below 1.
            seed: The same seed gives the same parts.

        Raises:
            ValueError: `first` leaves a part empty.
        """
        from sklearn.model_selection import train_test_split  # slow to import

        count = round(first * len(self)) if isinstance(first, float) and first < 1 else int(first)
        if not 0 < count < len(self):
            raise ValueError(f"first must leave both parts samples of {len(self)}, got {first}")
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


def _image(array: np.ndarray) -> Image.Image:
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):
        return Image.fromarray(array.squeeze()).convert("RGB")
    raise ValueError(f"images must be (height, width) or (height, width, 3), got {array.shape}")
