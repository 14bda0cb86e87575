"""Reading samples once: what each one is, whether it can be read, and what is odd about it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from hubfast.data.images import ImageFiles
from hubfast.data.pixels import peak_of_16_bits
from hubfast.data.target import TargetData
from hubfast.data.texts import TextPair, Words
from hubfast.utils.threads import cores, worker_processes

DARK = 12  # bits of 16 that leave an image nearly black where it uses no more
NAMED = 20  # samples named in a note; more are counted


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading one sample has shown."""

    fault: str | None = None  # why it cannot be read
    frames: bool = False  # it has more than the one that counts
    peak: int | None = None  # the largest value of 16 bits
    hidden: bool = False  # all that it shows has the colour of the background


ORDINARY = Seen()  # one for all samples that are, however many there are


@dataclass
class Findings:
    """What reading samples has shown, each with the sample's row in the full data set."""

    faults: list[tuple[int, str]] = field(default_factory=list)  # name and reason
    frames: list[tuple[int, str]] = field(default_factory=list)  # names
    hidden: list[tuple[int, str]] = field(default_factory=list)  # names
    peaks: list[int] = field(default_factory=list)

    def add(self, data: TargetData, seen: Sequence[Seen]) -> None:
        """Adds what was seen of all samples of `data`."""
        rows = data.rows().tolist()
        for i, one in enumerate(seen):
            if one.fault:
                self.faults.append((rows[i], f"{data.name_of(i)} ({one.fault})"))
                continue
            if one.frames:
                self.frames.append((rows[i], data.name_of(i)))
            if one.hidden:
                self.hidden.append((rows[i], data.name_of(i)))
            if one.peak is not None:
                self.peaks.append(one.peak)

    def notes(self, data: TargetData, max_unreadable: float) -> tuple[str, ...]:
        """What a reader of results should know of `data`, whose samples were read in any order.

        Raises:
            ValueError: More than `max_unreadable` of the samples cannot be read.
        """
        notes = []
        if self.frames:
            many = f"of {len(self.frames)} images with several frames the first is taken"
            notes.append(f"{many}: {_by_row(self.frames)}")
        if self.hidden:
            colour = data.pixels.background
            many = f"{len(self.hidden)} images with transparency show nothing on {colour}"
            notes.append(f"{many}; another background may help: {_by_row(self.hidden)}")
        if self.faults:
            faults = [text for _, text in sorted(self.faults)]
            notes.append(left_out(faults, len(data), max_unreadable))
        return tuple(notes)

    def check_bits(self, bits: int | None) -> None:
        """Refuses 16-bit images of 12 bits or fewer: divided by 257, they would be nearly black.

        Raises:
            ValueError: There are such images, and `bits` does not say how many they use.
        """
        used = max(self.peaks, default=0).bit_length()
        if self.peaks and bits is None and used <= DARK:
            say = max(used, 8)
            raise ValueError(
                f"the {len(self.peaks)} images of 16 bits hold no value above {max(self.peaks)} of "
                f"65535 and would be nearly black; say bits={say} (in as_target_data, or "
                f"--bits {say}) if that is all they use, bits=16 if they are that dark"
            )


def need_no_look(data: TargetData) -> bool:
    """Whether no sample can be faulty: there are none, or texts, or an array of any values."""
    samples = data.samples
    if isinstance(samples, np.ndarray | Tensor):
        whole = str(samples.dtype).rpartition(".")[2]
        return whole in ("uint8", "bool") or whole.startswith(("float", "bfloat", "str", "<U"))
    if samples is None:
        return True
    if isinstance(samples, Words):
        return True
    return isinstance(samples, list | tuple) and all(isinstance(x, str | TextPair) for x in samples)


def read_each(
    data: TargetData, then: Callable[[int, Any], Any], workers: int = 0
) -> Iterator[tuple[Seen, Any]]:
    """Reads every sample of `data` once, in order, and gives what `then(position, sample)` makes.

    Image files are read by a thread per core, others in this thread or by worker processes, as
    they need not bear threads; `then` runs in the threads where there are some.

    Args:
        data: The samples.
        then: What is made of each one that can be read: an RGB image, a text or a float tensor.
        workers: Processes that read samples which are no image files; 0 for none.
    """
    if isinstance(data.samples, ImageFiles):
        with ThreadPoolExecutor(cores()) as pool:
            yield from pool.map(partial(_read_and, data, then), range(len(data)))
        return
    if not workers:
        yield from map(partial(_read_and, data, then), range(len(data)))
        return
    loader = DataLoader(
        _Reading(data),
        batch_size=None,
        num_workers=worker_processes(workers),
        generator=torch.Generator("cpu"),  # else it draws from torch's own, which is the user's
    )
    with torch.device("cpu"):  # where the generator is, whatever the user's default
        read = iter(loader)
    for position, (seen, sample) in enumerate(read):
        yield seen, None if seen.fault else then(position, sample)


def left_out(faults: Sequence[str], count: int, max_unreadable: float) -> str:
    """The note on samples that cannot be read, each with the reason.

    Raises:
        ValueError: More than the allowed share of all samples cannot be read.
    """
    if len(faults) > max_unreadable * count:
        raise ValueError(
            f"{len(faults)} of {count} samples cannot be read, "
            f"more than max_unreadable={max_unreadable:g} of them: {listed(faults)}"
        )
    return f"{len(faults)} of {count} samples cannot be read and are left out: {listed(faults)}"


def reason(error: Exception, name: str = "") -> str:
    """Kind and first line of an error, without the name of the sample if that is said beside it."""
    kind, line = type(error).__name__, str(error).partition("\n")[0]
    if name:
        line = line.replace(f"'{name}'", name).removeprefix(f"{name}: ").removesuffix(f": {name}")
    return f"{kind}: {line}" if line else kind


def listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)


def _by_row(named: Sequence[tuple[int, str]]) -> str:
    return listed([text for _, text in sorted(named)])


def _read(data: TargetData, position: int) -> tuple[Seen, Any]:
    try:
        stored = data.stored(position)
        sample = data.pixels.prepared(stored)
    except Exception as error:  # decoders raise whatever their format makes them
        return Seen(reason(error, data.name_of(position))), None
    hidden = isinstance(sample, Image.Image) and data.pixels.hides(stored, sample)
    frames, peak = bool(getattr(stored, "is_animated", False)), peak_of_16_bits(stored)
    odd = frames or hidden or peak is not None
    return Seen(None, frames, peak, hidden) if odd else ORDINARY, sample


def _read_and(data: TargetData, then: Callable[[int, Any], Any], position: int) -> tuple[Seen, Any]:
    seen, sample = _read(data, position)
    return seen, None if seen.fault else then(position, sample)


class _Reading(torch.utils.data.Dataset):
    """What worker processes read."""

    def __init__(self, data: TargetData):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> tuple[Seen, Any]:
        return _read(self.data, position)
