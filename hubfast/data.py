"""Target data: samples and targets, from an image folder, a torch Dataset or arrays.

A sample is an image (PIL, or a uint8 array (H, W) or (H, W, 3)), which every model prepares in its
own way, or a float tensor, which models take as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import Tensor

from hubfast.scores.inputs import Task, as_targets


@dataclass(frozen=True, eq=False)
class TargetData:
    """The target task: `len(data)` samples with targets. Build it with `as_target_data`."""

    name: str
    samples: Sequence[Any] | None  # read by position; None where only targets are known
    targets: Tensor  # (n,) int64 classes, or (n, C) float64
    task: Task
    class_names: tuple[str, ...] | None = None
    positions: Tensor | None = None  # of this subset in `samples`; None for all of them

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        """The sample at `index`: a PIL image or a float tensor."""
        if self.samples is None:
            raise ValueError(f"data {self.name!r} has targets only, no samples to run a model on")
        sample = self.samples[index if self.positions is None else int(self.positions[index])]
        if isinstance(sample, tuple | list):  # (sample, target) of a torch Dataset
            sample = sample[0]
        if isinstance(sample, Image.Image):
            return sample.convert("RGB")
        array = sample.numpy() if isinstance(sample, Tensor) else np.asarray(sample)
        if array.dtype == np.uint8:
            return _image(array)
        return torch.as_tensor(array, dtype=torch.float32)

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


def as_target_data(data: Any, *, task: Task | None = None, name: str | None = None) -> TargetData:
    """Takes what people have.

    Args:
        data: A folder with one sub-folder of images for each class; an `.npz` file with arrays
            `images` and `targets`; a `.npy` file of targets; `"minihub:NAME"`; a torch Dataset of
            (sample, target); a pair (samples, targets) of arrays; targets alone, for stored
            features; or TargetData.
        task: `"classification"`, `"multilabel"` or `"regression"`; None to tell from the targets.
        name: Shown in reports.

    Raises:
        ValueError, TypeError, FileNotFoundError: It is none of these; the message says why.
    """
    match data:
        case TargetData():
            return data
        case str() if data.startswith("minihub:"):
            return _minihub(data.removeprefix("minihub:"))
        case str() | Path():
            return _from_path(Path(data), task, name)
        case (samples, targets):
            return _from_arrays(samples, targets, task, name or "arrays")
        case torch.utils.data.Dataset():
            return _from_dataset(data, task, name)
        case Tensor() | np.ndarray():
            return _from_arrays(None, data, task, name or "targets")
    raise TypeError(
        "data must be a path, a torch Dataset, (samples, targets), targets or TargetData, "
        f"got {type(data).__name__}"
    )


def _from_arrays(samples: Any, targets: Any, task: Task | None, name: str) -> TargetData:
    count = len(targets if samples is None else samples)
    values, task = as_targets(targets, count, task)
    return TargetData(name, samples, values, task)


def _from_dataset(
    dataset: torch.utils.data.Dataset, task: Task | None, name: str | None
) -> TargetData:
    """Targets by the attribute `targets` or `labels` where there is one, else by reading all."""
    samples: Any = dataset
    for attribute in ("targets", "labels"):
        if (targets := getattr(dataset, attribute, None)) is not None:
            break
    else:
        targets = np.asarray([np.asarray(samples[i][1]) for i in range(len(samples))])
    names = getattr(dataset, "classes", None)
    values, task = as_targets(targets, len(samples), task)
    name = name or type(dataset).__name__
    return TargetData(name, samples, values, task, None if names is None else tuple(names))


def _from_path(path: Path, task: Task | None, name: str | None) -> TargetData:
    if path.is_dir():
        from torchvision.datasets import ImageFolder  # slow to import

        return _from_dataset(ImageFolder(str(path)), task, name or path.name)
    if not path.exists():
        raise FileNotFoundError(f"data not found: {path}")
    if path.suffix == ".npy":
        return _from_arrays(None, np.load(path, allow_pickle=False), task, name or path.stem)
    if path.suffix != ".npz":
        raise ValueError(f"data must be a folder, an .npz or a .npy file, got {path}")
    with np.load(path, allow_pickle=False) as arrays:
        if "targets" not in arrays:
            raise ValueError(f"{path} must hold 'targets', got {sorted(arrays)}")
        images = arrays.get("images")
        return _from_arrays(images, arrays["targets"], task, name or path.stem)


def _minihub(name: str) -> TargetData:
    from hubfast.minihub import load_target

    target = load_target(name)
    values, task = as_targets(target.targets, len(target.images))
    images = list(target.images)
    return TargetData(f"minihub:{name}", images, values, task, target.class_names)


def _image(array: np.ndarray) -> Image.Image:
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):
        return Image.fromarray(array.squeeze()).convert("RGB")
    raise ValueError(f"images must be (height, width) or (height, width, 3), got {array.shape}")
