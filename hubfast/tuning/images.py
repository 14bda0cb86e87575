"""Target data as training batches: images in [0, 1] of one size, targets, positions."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from hubfast.data import TargetData
from hubfast.nn.batch_norm import single_values_named
from hubfast.tuning.framing import Framing, Size
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.samples import Item, SampleDataset, seed_of

Augment = Literal["none", "crop", "crop-flip"]
MEMORY = 2**30  # bytes of decoded images that are kept


class ImageDataset(SampleDataset):
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

    lr = 1e-3

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
        super().__init__(data, labels)
        self.seed = seed
        self.augment = None if augment == "none" else _augmentation(self.framing, augment)
        self._kept: dict[int, Tensor] = {}
        self._room = MEMORY if self.augment is None else 0

    @property
    def size(self) -> Size:
        """Height and width of the images."""
        return self.framing.size

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, position = key
        return self._image(epoch, position), self.targets[position], position

    def batch(self, positions: Sequence[int]) -> Tensor:
        """The images at `positions`, as in epoch 0."""
        return torch.stack([self._image(0, position) for position in positions])

    def errors_named(self, count: int) -> AbstractContextManager[object]:
        """While it is open, batch norm's error about one value per channel says what to do."""
        return single_values_named(count, self.size)

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


def _augmentation(framing: Framing, augment: Augment) -> Callable[[Image.Image], Tensor]:
    from timm.data.transforms import str_to_interp_mode  # slow to import
    from torchvision.transforms import v2

    mode = str_to_interp_mode(framing.interpolation)
    steps = [v2.RandomResizedCrop(framing.size, scale=(0.5, 1.0), interpolation=mode)]
    flip = [v2.RandomHorizontalFlip()] if augment == "crop-flip" else []
    return v2.Compose([*steps, *flip, v2.PILToTensor()])
