"""Target data as training batches: pictures in [0, 1] of one size, targets, positions."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from hubfast.data import TargetData
from hubfast.tuning.labels import Labels, aligned

Augment = Literal["none", "crop", "crop-flip"]
MEMORY = 2**30  # bytes of decoded pictures that are kept


class Pictures(Dataset):
    """Samples by `(epoch, position)`: picture `(3, H, W)` float32, target, position.

    Augmentation is seeded by seed, epoch and position: the same in any process, and after a
    restart.

    Args:
        data: Target data with samples; float tensors are passed on as they are.
        labels: Of the training data.
        size: Height and width; other pictures have their shorter side resized and are cropped.
        augment: `"crop"`: random crops of half to all of the picture, `"crop-flip"`: mirrored, too.
        seed: Of augmentation.
    """

    def __init__(
        self,
        data: TargetData,
        labels: Labels,
        size: tuple[int, int],
        *,
        augment: Augment = "none",
        seed: int = 0,
    ):
        if augment not in get_args(Augment):
            raise ValueError(f"augment must be one of {get_args(Augment)}, got {augment!r}")
        self.data, self.size, self.seed = data, size, seed
        self.labels = labels
        self.targets, self.notes = aligned(data, labels)
        self.augment = None if augment == "none" else _augmentation(size, augment == "crop-flip")
        keep = len(data) * 3 * size[0] * size[1] <= MEMORY and self.augment is None
        self._kept: dict[int, Tensor] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        epoch, position = key
        return self._picture(epoch, position), self.targets[position], position

    def batch(self, positions: Sequence[int]) -> Tensor:
        """The pictures at `positions`, as in epoch 0."""
        return torch.stack([self._picture(0, position) for position in positions])

    def _picture(self, epoch: int, position: int) -> Tensor:
        if self._kept is not None and position in self._kept:
            picture = self._kept[position]
        else:
            picture = self._read(epoch, position)
            if self._kept is not None:
                self._kept[position] = picture
        return picture.float() / 255 if picture.dtype == torch.uint8 else picture

    def _read(self, epoch: int, position: int) -> Tensor:
        sample = self.data[position]
        if isinstance(sample, Tensor):
            return sample
        if self.augment is None:
            return _as_tensor(_fitted(sample, self.size))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, epoch, position))
            return self.augment(_as_tensor(sample))


class BatchOrder(Sampler[list[tuple[int, int]]]):
    """Keys of `Pictures` for every step from `first` on; each epoch holds every sample once.

    Args:
        count: Samples.
        batch_size: About so many in a batch; those of an epoch differ by one at most.
        epochs: How many.
        seed: With the epoch, of the order.
        first: Step to begin with.
        rank, world: Of several processes, this one takes every world-th key of a batch.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.count, self.epochs, self.seed, self.first = count, epochs, seed, first
        self.rank, self.world = rank, world
        self.per_epoch = max(1, count // batch_size)
        if count // self.per_epoch < world:
            raise ValueError(f"batch_size must be at least {world}, one sample a process")

    def __len__(self) -> int:
        return self.epochs * self.per_epoch - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first // self.per_epoch, self.epochs):
            generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
            order = torch.randperm(self.count, generator=generator)
            skip = max(0, self.first - epoch * self.per_epoch)
            for batch in order.tensor_split(self.per_epoch)[skip:]:
                yield [(epoch, int(p)) for p in batch[self.rank :: self.world]]


def seed_of(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence([p & 0xFFFFFFFF for p in parts]).generate_state(1)[0])


def picture_size(data: TargetData, wanted: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    """Size to read pictures in: their own, at most the largest that a model wants."""
    first: Any = data[0]
    if isinstance(first, Tensor):
        return first.shape[-2], first.shape[-1]
    own = (first.height, first.width)
    sizes = [size for size in wanted if size is not None]
    largest = max(sizes, key=lambda size: size[0] * size[1]) if sizes else own
    return own if own[0] <= largest[0] and own[1] <= largest[1] else largest


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shorter side resized, middle cropped."""
    if (picture.height, picture.width) == size:
        return picture
    from torchvision.transforms.v2.functional import center_crop, resize  # slow to import

    own = (picture.height, picture.width)
    factor = max(wanted / side for wanted, side in zip(size, own, strict=True))
    larger = [max(round(factor * a), b) for a, b in zip(own, size, strict=True)]
    return center_crop(resize(picture, larger), list(size))


def _as_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _augmentation(size: tuple[int, int], flip: bool) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop(size, scale=(0.5, 1.0), antialias=True)]
    return v2.Compose([*steps, v2.RandomHorizontalFlip()] if flip else steps)
