"""A block of samples, read and decoded once for all models."""

import math
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from hubfast.data.reading import Seen, read_each
from hubfast.data.target import TargetData
from hubfast.data.texts import TextPair, Word
from hubfast.utils.threads import cores


class ImageFraming(Protocol):
    """How an image is resized and cropped: what several models may have in common."""

    @property
    def geometry(self) -> Hashable:
        """Equal for framings that make the same of every image."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every framed image."""
        ...

    def pixels(self, image: Any) -> Tensor:
        """The image resized and cropped, uint8 of that shape."""
        ...


class Block:
    """Samples of the target data as models take them; those that cannot be read are left out.

    `read` decodes every sample once and frames it for as many models as are known. What is asked
    for later is made of the decoded samples where they were kept, else the samples are read again.

    Args:
        data: The samples of the block, in the order in which models see them.
        workers: Processes that read samples which are no image files.
    """

    def __init__(self, data: TargetData, workers: int = 0):
        self.data, self.workers = data, workers
        self.seen: Sequence[Seen] | None = None  # of each sample of `data`, once that is known
        self.images = False  # whether all samples are images
        self.decoded_bytes = 0  # what the decoded samples take
        self.digests: list[bytes] = []  # of the samples that can be read, where they were asked for
        self.kept = torch.arange(len(data), device="cpu")  # positions in `data` that can be read
        self._samples: list[Any] | None = None
        self._pixels: dict[Hashable, Tensor] = {}
        self._shared: dict[Hashable, Any] = {}

    def know(self, seen: Sequence[Seen], *, images: bool) -> None:
        """Takes from an earlier run what reading the samples shows."""
        self.seen, self.images = seen, images
        self.kept = torch.tensor(
            [i for i, one in enumerate(seen) if not one.fault], dtype=torch.int64, device="cpu"
        )

    def read(
        self,
        framings: Collection[ImageFraming] = (),
        *,
        room: float = math.inf,
        digest: Callable[[Any], bytes] | None = None,
    ) -> None:
        """Reads all samples, once.

        Args:
            framings: What images are framed by as they are read.
            room: Bytes up to which decoded images are kept, too; other samples always are.
            digest: Hashes what models see of a sample, for `digests`.
        """
        distinct = {one.geometry: one for one in framings}.values()
        canvases = [_Canvas(one, len(self.data)) for one in distinct]
        left = _Room(room)

        def frame(position: int, sample: Any) -> _Made:
            image, size = isinstance(sample, Image.Image), _size(sample)
            if image:
                for canvas in canvases:
                    canvas.try_to_put(position, sample)
            kept = sample if not image or left.take(size) else None
            return _Made(kept, image, size, None if digest is None else digest(sample))

        read = list(read_each(self.data, frame, self.workers))
        made = [one for seen, one in read if not seen.fault]
        self.know([seen for seen, _ in read], images=bool(made) and all(m.image for m in made))
        self.decoded_bytes = sum(one.size for one in made)
        self.digests = [one.digest for one in made if one.digest is not None]
        if room or not self.images:
            self._samples = [one.sample for one in made]
        if self.images:
            whole = len(self.kept) == len(self.data)
            for canvas in canvases:
                if not canvas.broken:
                    pixels = canvas.pixels if whole else canvas.pixels[self.kept]
                    self._pixels[canvas.framing.geometry] = pixels

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Any:
        """The sample at `index`: an RGB image of 8 bits, one of text, or a float tensor."""
        sample = None if self._samples is None else self._samples[index]
        return self.data[int(self.kept[index])] if sample is None else sample

    @property
    def targets(self) -> Tensor:
        """Targets of the samples."""
        return self.data.targets[self.kept]

    @property
    def clusters(self) -> Tensor | None:
        """Which of the samples belong together, `(n,)`; None where each stands alone."""
        whole = self.data.clusters
        return None if whole is None else whole[self.kept]

    def rows(self) -> Tensor:
        """Positions of the samples in the full data set, `(n,)` int64."""
        return self.data.rows()[self.kept]

    def pixels(self, framing: ImageFraming) -> Tensor:
        """All samples framed, uint8 `(n, channels, height, width)`; all of them must be images."""
        found = self._pixels.get(framing.geometry)
        if found is not None:
            return found
        canvas = _Canvas(framing, len(self))
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(partial(_put, canvas, self), range(len(self))))
        self._pixels[framing.geometry] = canvas.pixels
        return canvas.pixels

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives of the samples, made once for all models that ask for this `key`.

        Args:
            key: Equal for models to which the same is of use, such as the tokens of texts.
            make: Makes a list, of things that tell their `nbytes`.
        """
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def holds(self, framing: ImageFraming | None) -> bool:
        """Whether nothing needs to be read for a model of this framing; None for one without."""
        if framing is None or not self.images:
            return self._samples is not None
        return self._samples is not None or framing.geometry in self._pixels

    @property
    def held_bytes(self) -> int:
        """Bytes of the samples that are held, decoded or framed."""
        decoded = 0 if self._samples is None else self.decoded_bytes
        made = (one for shared in self._shared.values() for one in shared)
        return decoded + sum(x.nbytes for x in (*self._pixels.values(), *made))

    def drop(self) -> None:
        """Forgets samples and pixels, not what is known of them."""
        self._samples = None
        self._pixels, self._shared = {}, {}


@dataclass(frozen=True)
class _Made:
    """What was made of a sample."""

    sample: Any  # None: not kept
    image: bool
    size: int  # bytes
    digest: bytes | None


class _Room:
    """Memory that several threads share."""

    def __init__(self, size: float):
        self._left, self._lock = size, Lock()

    def take(self, size: int) -> bool:
        """Takes so many bytes, if they are left."""
        with self._lock:
            fits = size <= self._left
            self._left -= size if fits else 0
        return fits


class _Canvas:
    """One tensor that framed images are put into, by several threads."""

    def __init__(self, framing: ImageFraming, count: int):
        self.framing, self.broken = framing, False
        self.pixels = torch.zeros(count, *framing.shape, dtype=torch.uint8, device="cpu")

    def put(self, position: int, image: Any) -> None:
        self.pixels[position] = self.framing.pixels(image)

    def try_to_put(self, position: int, image: Any) -> None:
        """Leaves an error for when a model asks for this framing: others may do without it."""
        try:
            self.put(position, image)
        except Exception:
            self.broken = True


def _put(canvas: _Canvas, block: Block, position: int) -> None:
    canvas.put(position, block[position])


def _size(sample: Any) -> int:
    """Bytes that a decoded sample takes; Pillow holds four for each pixel of an RGB image."""
    if isinstance(sample, Image.Image):
        return 4 * sample.width * sample.height
    if isinstance(sample, TextPair):
        return 4 * (len(sample.first) + len(sample.second))
    if isinstance(sample, Word):
        return 4 * len(sample.text)  # all words of a sentence hold the one sentence
    return sample.nbytes if isinstance(sample, Tensor) else 4 * len(sample)
