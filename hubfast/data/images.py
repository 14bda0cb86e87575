"""Image files and encoded images, opened when they are asked for."""

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, UnidentifiedImageError

NEVER_DECODED = {"MPEG"}  # Pillow tells that it is a film, and no more


@cache
def image_suffixes() -> frozenset[str]:
    """Suffixes of the files that Pillow reads, in lower case, with those of its plugins.

    Formats that need a handler of the user's own, such as HDF5 and GRIB, do not count.
    """

    def reads(kind: str) -> bool:
        factory = Image.OPEN.get(kind, (None, None))[0]
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return (factory is not None or kind == "MPO") and not stub and kind not in NEVER_DECODED

    formats = Image.registered_extensions()
    return frozenset(suffix.lower() for suffix, kind in formats.items() if reads(kind))


def opened(image: Any, folder: Path | None = None) -> Image.Image:
    """Opens an image by a path, the bytes of a file, or a mapping of `bytes` and `path`.

    Args:
        image: The image as data sets store it.
        folder: The folder that relative paths are taken from.

    Raises:
        UnidentifiedImageError, OSError: The file is not there, or no image that Pillow reads.
        TypeError: `image` is none of these.
    """
    if isinstance(image, Mapping):
        content = image.get("bytes")
        image = image.get("path") if content is None else content
    name = "image"
    if isinstance(image, str | Path):
        path = Path(image) if folder is None else folder / image
        name, image = str(path), path.read_bytes()
    if not isinstance(image, bytes | bytearray | memoryview):
        raise TypeError(f"an image must be a path or bytes, got {type(image).__name__}")
    try:
        return Image.open(BytesIO(image))
    except UnidentifiedImageError:
        raise UnidentifiedImageError(f"{name}: no image that Pillow reads") from None


class ImageFiles(Sequence[Image.Image]):
    """Images of paths, or of encoded bytes, opened anew at each access.

    Args:
        images: The images, each as `opened` takes it.
        folder: The folder that relative paths are taken from.
    """

    def __init__(self, images: Sequence[Any], folder: Path | None = None):
        self.images, self.folder = images, folder

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ImageFiles(self.images[index], self.folder)
        return opened(self.images[index], self.folder)
