"""The one rule by which a sample of any kind becomes what models read.

A sample is an image (PIL, or an array of whole numbers), which becomes an RGB image of 8 bits; a
text; or an array of floats, which models take as it is. docs/data.md states the rule for people.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from hubfast.data.texts import is_text
from hubfast.utils.names import brief

ORIENTATION = 0x0112  # the tag of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by the number of channels


@dataclass(frozen=True)
class Pixels:
    """How images of any kind become RGB of 8 bits, the same way for all of a data set.

    Args:
        background: Colour behind transparent pixels, as Pillow names it.
        bits: How many bits of a 16-bit grey value are used, such as 12 of many medical images;
            None for all 16, and `readable` then refuses data that uses few of them.

    Raises:
        ValueError: There is no such colour, or `bits` is not in 8..16.
    """

    background: str = "white"
    bits: int | None = None

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise ValueError(
                "background must be a colour that Pillow knows, such as white or #7f7f7f, got "
                f"{brief(self.background)}"
            ) from None
        if self.bits is not None and not 8 <= self.bits <= 16:
            raise ValueError(f"bits must be in 8..16, got {self.bits}")

    def prepared(self, sample: Any) -> Any:
        """Gives a sample as an RGB image, a sample of text as it is, or a float32 tensor.

        Raises:
            ValueError, TypeError: The sample is none of these, or its values do not fit the rule.
        """
        if is_text(sample):
            return sample
        if isinstance(sample, Image.Image):
            return self.rgb(sample)
        if isinstance(sample, Tensor):
            sample = sample.detach().cpu()
            if sample.is_floating_point():
                return sample.float().as_subclass(Tensor)
            sample = sample.numpy()
        array = np.asarray(sample)
        if array.dtype.kind == "f" or (array.dtype.kind in "bui" and array.ndim == 1):
            return torch.tensor(np.ascontiguousarray(array, dtype=np.float32), device="cpu")
        if array.dtype.kind not in "bui":
            raise TypeError(
                f"samples must be images, texts or numbers, got {type(sample).__name__} of "
                f"{array.dtype}"
            )
        return self._from_array(array)

    def rgb(self, image: Image.Image) -> Image.Image:
        """The image upright, in RGB of 8 bits, without the metadata of its file."""
        image.load()  # turns a TIFF itself, and finds the EXIF block behind a PNG's pixels
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
        flat = self._flat(image)
        flat = flat if turn is None else flat.transpose(turn)
        flat.info = {}
        return flat

    def hides(self, sample: Any, shown: Image.Image) -> bool:
        """Whether a sample with transparency shows nothing but the background."""
        clear = isinstance(sample, Image.Image) and sample.has_transparency_data
        if isinstance(sample, np.ndarray | Tensor) and sample.ndim == 3:
            clear = 3 not in (sample.shape[0], sample.shape[2])
        colour = ImageColor.getrgb(self.background)[:3]
        return clear and shown.getextrema() == tuple((value, value) for value in colour)

    def _flat(self, image: Image.Image) -> Image.Image:
        hidden = None
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if "transparency" in image.info:  # the grey value that stands for nothing
                hidden = values == image.info["transparency"]
            image = Image.fromarray(self._of_16_bits(values))
        elif image.mode == "F":
            image = Image.fromarray(_of_unit_floats(np.asarray(image)))
        elif image.has_transparency_data:
            return self._composed(image)
        flat = image.convert("RGB")
        if hidden is not None:
            flat.paste(ImageColor.getrgb(self.background), mask=Image.fromarray(hidden))
        return flat.copy() if flat is image else flat

    def _composed(self, image: Image.Image) -> Image.Image:
        if image.mode == "La":  # its alpha is multiplied into the values
            image = image.convert("LA")
        canvas = Image.new("RGBA", image.size, self.background)
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")

    def _from_array(self, array: np.ndarray) -> Image.Image:
        array = _channels_last(array)
        if array.dtype == bool:
            array = array.astype(np.uint8) * 255
        elif array.dtype.kind == "u" and array.dtype.itemsize == 2:
            array = self._of_16_bits(array)
        elif array.dtype != np.uint8:
            low, high = int(array.min()), int(array.max())
            if low < 0 or high > 255:
                raise ValueError(
                    f"images of {array.dtype} must hold values in 0..255, got {low}..{high}; "
                    "give uint16 for 16-bit images"
                )
            array = array.astype(np.uint8)
        mode = MODES[array.shape[2] if array.ndim == 3 else 1]
        squeezed = array[..., 0] if array.ndim == 3 and mode == "L" else array
        image = Image.fromarray(np.ascontiguousarray(squeezed))
        return self._composed(image) if mode.endswith("A") else image.convert("RGB")

    def _of_16_bits(self, values: np.ndarray) -> np.ndarray:
        bits = self.bits or 16
        largest = 2**bits - 1
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > largest:
            raise ValueError(
                f"images of {bits} bits must hold values in 0..{largest}, got {low}..{high}"
            )
        return ((values.astype(np.int64) * 255 + largest // 2) // largest).astype(np.uint8)


def peak_of_16_bits(sample: Any) -> int | None:
    """The largest value of a 16-bit grey image or array, None for any other sample."""
    if isinstance(sample, Image.Image):
        return int(np.asarray(sample).max()) if sample.mode.startswith("I") else None
    if isinstance(sample, Tensor) and sample.dtype == torch.uint16:
        sample = sample.cpu().numpy()
    if isinstance(sample, np.ndarray) and sample.dtype.kind == "u" and sample.dtype.itemsize == 2:
        return int(sample.max()) if sample.ndim > 1 and sample.size else None
    return None


def _of_unit_floats(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # nor NaN
        raise ValueError(f"images of floats must hold values in 0..1, got {low:g}..{high:g}")
    return np.rint(values * 255).astype(np.uint8)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """`(h, w)` or `(h, w, c)`, of `(c, h, w)` too where the shape leaves no doubt.

    Three channels are the surest sign, in front or behind; a shape that reads both ways is
    refused.
    """
    wanted = "images must be (height, width), (height, width, 1 to 4) or (1, 3 or 4, height, width)"
    if not array.ndim:
        raise ValueError(f"samples must be images or texts, got the single value {array.item()!r}")
    if not array.size:
        raise ValueError(f"{wanted}, not empty, got {array.shape}")
    if array.ndim == 2:
        return array
    if array.ndim != 3:
        raise ValueError(f"{wanted}, got {array.shape}")
    first, _, last = array.shape
    front, behind = first in (1, 3, 4), last in MODES
    if front and behind and (first == 3) != (last == 3):
        front, behind = first == 3, last == 3
    if front == behind:
        reads = "which reads both ways; give height and width first" if front else ""
        raise ValueError(f"{wanted}, got {array.shape}" + f", {reads}" * front)
    return array.transpose(1, 2, 0) if front else array
