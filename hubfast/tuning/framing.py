"""How images of any shape become tensors of one size: by a model's own resizing and cropping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hubfast.data import TargetData
from hubfast.hub import Source
from hubfast.hub.preprocessing import TimmTransform
from hubfast.tuning.pretrained import loaded, preprocessing
from hubfast.utils.names import brief

Size = tuple[int, int]
LARGEST_SIDE = 2**14  # pixels: such an image has 3 GiB in float32
LEVELS = 255  # the largest value of an 8-bit pixel
PLAIN = {"interpolation": "bilinear", "crop_pct": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
TOLERANCE = 1e-3  # levels that float32 may lose in normalising and back


@dataclass(frozen=True, eq=False)
class Framing:
    """Resizes and crops an image as a transform does, without normalising it.

    Args:
        size: Height and width of what it gives.
        transform: From a PIL image to the normalised tensor `(3, H, W)`; None where the data
            gives float tensors, which pass as they are.
        mean: What the transform subtracts from each channel.
        std: What it then divides each channel by.
    """

    size: Size
    transform: Callable[[Any], Tensor] | None
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)

    @classmethod
    def plain(cls, size: Size) -> "Framing":
        """Resizes the shorter side, bilinear, and crops the middle; an image of `size` stays."""
        return cls(size, _timm(PLAIN, size))

    @classmethod
    def of(cls, source: Source, data: TargetData) -> "Framing | None":
        """The framing of a hub's model; None if the model has no preprocessing of its own.

        Raises:
            ValueError: The size that the transform gives depends on that of the image, and the
                images of `data` differ in size.
        """
        if (transform := loaded(source)[1]) is None:
            return None
        mean, std, size = preprocessing(transform)
        if size is None:
            height, width = _only_size(data)
            prepared = transform(Image.new("RGB", (width, height)))
            size = (prepared.shape[-2], prepared.shape[-1])
        return cls(size, transform, mean, std)

    @property
    def interpolation(self) -> str:
        """How it resizes, by timm's name."""
        if isinstance(self.transform, TimmTransform):
            return str(self.transform.config["interpolation"])
        return "bilinear"

    def __call__(self, image: Image.Image) -> Tensor:
        """`(3, H, W)`: uint8, or float32 in [0, 1] where a transform of another make resizes so.

        Raises:
            ValueError: The framing is of float tensors.
        """
        if self.transform is None:
            raise ValueError("data must give float tensors, as the training data does, got images")
        if isinstance(self.transform, TimmTransform):
            return self.transform.pixels(image)
        mean, std = (
            torch.tensor(x, dtype=torch.float32, device="cpu").view(-1, 1, 1)
            for x in (self.mean, self.std)
        )
        return _in_8_bits(self.transform(image).float() * std + mean)


def choose_framing(data: TargetData, sources: Sequence[Source], size: Size | None) -> Framing:
    """How to prepare the images of `data` for all of `sources`.

    It is the preprocessing of the model that wants the largest images, the first of several; with
    `size`, that of the first model at this size. Where no model says what it wants, images stay
    as they are, if they have one size.

    Args:
        data: The training data; float tensors, if it gives such, are taken as they are.
        sources: The models that shall see the same images, best first.
        size: Height and width, if the user says so.

    Raises:
        ValueError: `size` is given for float tensors, or is needed, since no model says what it
            wants and the images differ in size.
    """
    first = data[0]
    if isinstance(first, Tensor):
        own = (first.shape[-2], first.shape[-1])
        if size not in (None, own):
            raise ValueError(f"size is for images, the data gives float tensors of size {own}")
        return Framing(own, None)
    if size is not None:
        return _at(size, loaded(sources[0])[1])
    found = [framing for source in sources if (framing := Framing.of(source, data)) is not None]
    if found:
        return max(found, key=lambda framing: framing.size[0] * framing.size[1])
    return Framing.plain(_only_size(data))


def _at(size: Size, transform: Any) -> Framing:
    """The framing of a transform at another size; of one that is not timm's, the plain one."""
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        raise ValueError(f"size must be from 1 to {LARGEST_SIDE} pixels a side, got {brief(size)}")
    if not isinstance(transform, TimmTransform):
        return Framing.plain(size)
    config = transform.config
    return Framing(size, _timm(config, size), config["mean"], config["std"])


def _in_8_bits(image: Tensor) -> Tensor:
    """A float image in [0, 1] as uint8 if that loses nothing, else as it is."""
    levels = (image * LEVELS).round()
    same = bool((image * LEVELS - levels).abs().max() < TOLERANCE)
    within = bool(levels.min() >= 0 and levels.max() <= LEVELS)
    return levels.to(torch.uint8) if same and within else image


def _only_size(data: TargetData) -> Size:
    images = (data[index] for index in range(len(data)))
    sizes = sorted({(image.height, image.width) for image in images})
    if len(sizes) > 1:
        raise ValueError(
            f"size must be given: no model says what it wants, and the images have {len(sizes)} "
            f"sizes, such as {sizes[0]} and {sizes[-1]}"
        )
    return sizes[0]


def _timm(config: Mapping[str, Any], size: Size) -> TimmTransform:
    return TimmTransform({**config, "input_size": (3, *size)})
