"""Image files, read when they are asked for."""

from collections.abc import Sequence
from typing import overload

from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFiles(Sequence[Image.Image]):
    """The images of some paths, decoded anew at each access."""

    def __init__(self, paths: Sequence[str]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...

    @overload
    def __getitem__(self, index: slice) -> "ImageFiles": ...

    def __getitem__(self, index: int | slice) -> "Image.Image | ImageFiles":
        if isinstance(index, slice):
            return ImageFiles(self.paths[index])
        with Image.open(self.paths[index]) as image:
            return image.convert("RGB")
