"""What tells samples apart: a hash of all of a sample that a model can see.

It is of bytes and not of names, so that features are found again when files move, and are not when
a file changes under its name.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

from hubfast.data import TargetData
from hubfast.data.images import ImageFiles
from hubfast.data.pixels import ORIENTATION
from hubfast.data.texts import TextPair, Word, Words, as_text, is_text
from hubfast.utils.file_hashes import FileHashes
from hubfast.utils.threads import cores

UNREADABLE = bytes(32)  # the digest of each sample that cannot be read
OF_TEXT = (b"text", b"pair", b"word")  # kinds of samples that have no pixels
OFTEN = 10.0  # seconds, after which new hashes of files are kept


def sample_digests(data: TargetData, rows: Tensor, hashes: FileHashes | None = None) -> list[bytes]:
    """Hashes samples together with how their pixels are read.

    Encoded images, in files, tables or data sets of the library datasets, count by their bytes,
    and are not decoded. Others count by what the data give: texts, arrays by dtype, shape and
    values, PIL images by all that is shown of their frame. Equal samples have equal digests,
    wherever they are.

    Args:
        data: The target data.
        rows: Positions in `data`, `(n,)` int64.
        hashes: Hashes of files that are known, and to which new ones are added; None for none.

    Returns:
        A sha256 of 32 bytes for each row; `UNREADABLE` for a sample that cannot be read.

    Raises:
        ValueError: The data have targets only.
    """
    if data.samples is None:
        data.stored(0)  # has the error that says so
    known = FileHashes() if hashes is None else hashes
    reading = _reading(data)
    positions = data.rows()[rows].tolist()

    def digest(position: int) -> bytes:
        try:
            kind, content = _content(_kept(data.samples, position), known)
        except Exception:  # decoders raise whatever their format makes them
            return UNREADABLE
        return hashlib.sha256(
            b"\n".join([kind, b"" if kind in OF_TEXT else reading, content])
        ).digest()

    if isinstance(data.samples, ImageFiles):  # others need not bear threads
        with ThreadPoolExecutor(cores()) as pool:
            found = list(pool.map(digest, positions))
    else:
        found = [digest(position) for position in positions]
    known.save(every=OFTEN)
    return found


def hashed_by_reading(data: TargetData) -> bool:
    """Whether a sample must be read to be hashed, as those of a torch Dataset: `digest_of` does."""
    samples: Any = data.samples
    known = isinstance(samples, ImageFiles | Words | list | tuple | np.ndarray | Tensor)
    return not (samples is None or known or bool(getattr(samples, "decoding", "")))


def digest_of(sample: Any) -> bytes:
    """Hashes a sample as models see it: an RGB image, a text or a float tensor; 32 bytes."""
    kind, content = _content(sample, FileHashes())
    return hashlib.sha256(b"\n".join([kind, b"as it is shown", content])).digest()


def block_digest(digests: Sequence[bytes]) -> str:
    """One hash of samples in their order, 64 hexadecimal digits."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _reading(data: TargetData) -> bytes:
    """How an image of any kind becomes RGB: another Pillow may decode it in another way."""
    version = ".".join(PIL.__version__.split(".")[:2])
    decoding = getattr(data.samples, "decoding", "")
    return f"{data.pixels.background} {data.pixels.bits} Pillow {version} {decoding}".encode()


def _kept(samples: Any, position: int) -> Any:
    """The sample as the data keep it, an encoded image unopened."""
    if getattr(samples, "decoding", ""):  # of the library datasets
        sample = samples.encoded(position)
        if sample["bytes"] is not None or os.path.isfile(sample["path"] or ""):
            return sample
    if not isinstance(samples, ImageFiles):
        sample = as_text(samples[position])
        whole = not isinstance(sample, tuple) or is_text(sample)
        return sample if whole else as_text(sample[0])
    image = samples.images[position]
    if isinstance(image, Mapping):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if isinstance(image, str | Path):
        return Path(image) if samples.folder is None else samples.folder / image
    return image


def _content(sample: Any, known: FileHashes) -> tuple[bytes, bytes]:
    """The kind of a sample, and bytes that are equal for equal samples of this kind.

    Raises:
        OSError: A file cannot be read.
        TypeError: The sample is of no known kind.
    """
    if isinstance(sample, Mapping):
        sample = Path(sample["path"]) if sample.get("bytes") is None else sample["bytes"]
    match sample:
        case str():
            return b"text", _encoded(sample)
        case TextPair():
            return b"pair", _joined(sample)
        case Word():
            return b"word", b"%d " % sample.position + _joined(sample.sentence)
        case Path():
            return b"encoded", known.of(sample)
        case bytes() | bytearray() | memoryview():
            return b"encoded", hashlib.sha256(sample).digest()
        case Image.Image():
            return b"image", _shown(sample)
        case Tensor():
            held = sample.detach().cpu().contiguous()
            content = held.flatten().view(torch.uint8).numpy()
            return b"array", _values(str(held.dtype).removeprefix("torch."), held.shape, content)
    values = np.asarray(sample)
    if values.dtype.kind not in "fbui":
        raise TypeError(f"samples must be images, texts or numbers, got {values.dtype}")
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    return b"array", _values(values.dtype.name, values.shape, values)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _joined(texts: Sequence[str]) -> bytes:
    """Texts with their lengths before them, so that others never join to the same."""
    encoded = [_encoded(text) for text in texts]
    return b" ".join(b"%d" % len(text) for text in encoded) + b"\n" + b"".join(encoded)


def _values(dtype: str, shape: Sequence[int], content: Any) -> bytes:
    return f"{dtype} {(*shape,)} ".encode() + hashlib.sha256(content).digest()


def _shown(image: Image.Image) -> bytes:
    """All of an image's current frame on which its pixels in RGB depend."""
    pixels = image.tobytes()  # loads it first, with what its file keeps behind the pixels
    palette = None if image.palette is None else (image.palette.mode, image.getpalette(None))
    facts = (image.mode, image.size, palette, image.info.get("transparency"))
    turn = image.getexif().get(ORIENTATION, 1)
    return f"{facts} {turn} ".encode() + hashlib.sha256(pixels).digest()
