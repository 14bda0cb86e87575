"""Target data as training batches: images in [0, 1] of one size, targets, positions."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hubfast.data import TargetData
from hubfast.tuning.framing import Framing, Size
from hubfast.tuning.labels import TargetEncoder, aligned
from hubfast.utils.threads import worker_processes

Augment = Literal["none", "crop", "crop-flip"]
MEMORY = 2**30  # bytes of decoded images that are kept


class ImageDataset(Dataset):
    """Samples by `(epoch, position)`: image `(3, H, W)` float32, target, position.

    Augmentation is seeded by seed, epoch and position: the same in any process, and after a
    restart.

    Args:
        data: Target data with samples; float tensors are passed on as they are.
        labels: What the outputs stand for, as told from the training data.
        framing: How images come to one size; a size alone stands for `Framing.plain`.
        augment: `"crop"`: random crops of half to all of the image as it is, resized to the
            framing's size by its interpolation; `"crop-flip"`: mirrored, too.
        seed: Seed of the augmentation.
    """

    def __init__(
        self,
        data: TargetData,
        labels: TargetEncoder,
        framing: Framing | Size,
        *,
        augment: Augment = "none",
        seed: int = 0,
    ):
        if augment not in get_args(Augment):
            raise ValueError(f"augment must be one of {get_args(Augment)}, got {augment!r}")
        self.framing = framing if isinstance(framing, Framing) else Framing.plain(framing)
        self.data, self.seed = data, seed
        self.labels = labels
        self.targets, self.notes = aligned(data, labels)
        self.augment = None if augment == "none" else _augmentation(self.framing, augment)
        self._kept: dict[int, Tensor] = {}
        self._room = MEMORY if self.augment is None else 0

    @property
    def size(self) -> Size:
        """Height and width of the images."""
        return self.framing.size

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        epoch, position = key
        return self._image(epoch, position), self.targets[position], position

    def batch(self, positions: Sequence[int]) -> Tensor:
        """The images at `positions`, as in epoch 0."""
        return torch.stack([self._image(0, position) for position in positions])

    def _image(self, epoch: int, position: int) -> Tensor:
        image = self._kept.get(position)
        if image is None:
            image = self._read(epoch, position)
            if image.nbytes <= self._room:
                self._kept[position] = image
                self._room -= image.nbytes
        return image.float() / 255 if image.dtype == torch.uint8 else image

    def _read(self, epoch: int, position: int) -> Tensor:
        sample = self.data[position]
        if isinstance(sample, Tensor):
            if sample.shape[-2:] != self.size:
                name, shape = self.data.name_of(position), tuple(sample.shape)
                raise ValueError(f"data must give tensors of size {self.size}, {name} is {shape}")
            if self.augment is not None:
                raise ValueError("augment is for images, the data gives float tensors")
            return sample
        if self.augment is None:
            return self.framing(sample)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, epoch, position))
            return self.augment(sample)


class BatchOrder(Sampler[list[tuple[int, int]]]):
    """Keys of an `ImageDataset` for every step from `first` on; each epoch holds every sample once.

    Args:
        count: How many samples there are.
        batch_size: About how many samples a batch of all processes holds; those of an epoch differ
            by one at most.
        epochs: How many times each sample comes.
        seed: Makes the order, together with the number of the epoch.
        first: Step to begin with.
        rank, world: This process is the rank-th of `world`: it takes every world-th key of a batch.
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
            raise ValueError(f"batch_size must be at least {world}, one sample per process")

    def __len__(self) -> int:
        return self.epochs * self.per_epoch - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first // self.per_epoch, self.epochs):
            skip = max(0, self.first - epoch * self.per_epoch)
            for batch in self._batches(epoch)[skip:]:
                yield [(epoch, int(p)) for p in batch[self.rank :: self.world]]

    def whole(self, step: int) -> Tensor:
        """Positions of all samples of a step, those of all processes: `(B,)` int64."""
        epoch, batch = divmod(step, self.per_epoch)
        return self._batches(epoch)[batch]

    def size(self, step: int) -> int:
        """How many samples the step has in all processes."""
        return self.count // self.per_epoch + (step % self.per_epoch < self.count % self.per_epoch)

    def _batches(self, epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator("cpu").manual_seed(seed_of(self.seed, epoch))
        order = torch.randperm(self.count, generator=generator, device="cpu")
        return order.tensor_split(self.per_epoch)


def loader(images: ImageDataset, order: BatchOrder, workers: int, *, pinned: bool) -> DataLoader:
    """Batches of training images in an order; its workers' seeds leave the global generator alone.

    Args:
        images: Training data.
        order: Which samples come in which step.
        workers: Processes that prepare images.
        pinned: Whether batches lie in pinned memory, for a GPU.
    """
    return DataLoader(
        images,
        batch_sampler=order,
        num_workers=worker_processes(workers),
        pin_memory=pinned,
        generator=torch.Generator("cpu").manual_seed(order.seed),
    )


def seed_of(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence([p & 0xFFFFFFFF for p in parts]).generate_state(1)[0])


def _augmentation(framing: Framing, augment: Augment) -> Callable[[Image.Image], Tensor]:
    from timm.data.transforms import str_to_interp_mode  # slow to import
    from torchvision.transforms import v2

    mode = str_to_interp_mode(framing.interpolation)
    steps = [v2.RandomResizedCrop(framing.size, scale=(0.5, 1.0), interpolation=mode)]
    flip = [v2.RandomHorizontalFlip()] if augment == "crop-flip" else []
    return v2.Compose([*steps, *flip, v2.PILToTensor()])
