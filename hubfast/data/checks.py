"""Checks of target data before any model sees it: unreadable samples, uneven classes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hubfast.data.images import ImageFiles
from hubfast.data.pixels import peak_of_16_bits
from hubfast.data.target import TargetData
from hubfast.utils.progress import progress_bar
from hubfast.utils.threads import cores

MAX_UNREADABLE = 0.05
FEW = 20  # samples, below which each may well have a class of its own
UNEVEN = 10.0  # the largest class over the smallest, from which it is said
NAMED = 20  # samples named in a note; more are counted
DARK = 12  # bits of 16 that leave an image nearly black where it uses no more


class Seen(NamedTuple):
    """What reading a sample once has shown."""

    fault: str | None = None
    frames: bool = False  # it has more than the one that counts
    peak: int | None = None  # the largest value of 16 bits
    hidden: bool = False  # all that it shows has the colour of the background


def readable(
    data: TargetData, max_unreadable: float = MAX_UNREADABLE, *, progress: bool = True
) -> TargetData:
    """Keeps the samples that can be read, so that every model sees the same ones.

    Each sample that is not text or a part of one array is read and decoded once. Those that cannot
    be are left out, and counted and named in the `notes` of the result.

    Args:
        data: The target data.
        max_unreadable: Share of unreadable samples, in [0, 1], above which something else is wrong.
        progress: Show a bar.

    Raises:
        ValueError: More than that share cannot be read, `max_unreadable` is no share, or 16-bit
            images use so few of their bits that all would be nearly black.
    """
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be in 0..1, got {max_unreadable}")
    if _of_one_kind(data):
        return data
    with progress_bar(progress) as bars:
        bar = bars.add_task("reading samples", total=len(data))
        seen = []
        for each in _seen(data):
            seen.append(each)
            bars.advance(bar)
    _check_bits(data, [each.peak for each in seen if each.peak is not None])
    notes = [*_frames_note(data, seen), *_hidden_note(data, seen)]
    faults = [f"{data.name_of(i)} ({s.fault})" for i, s in enumerate(seen) if s.fault]
    if faults:
        notes.append(left_out(faults, len(data), max_unreadable))
        kept = [i for i, s in enumerate(seen) if not s.fault]
        data = data.subset(torch.tensor(kept, device="cpu"))
    return replace(data, notes=(*data.notes, *notes)) if notes else data


def left_out(faults: Sequence[str], count: int, max_unreadable: float) -> str:
    """The note on samples that cannot be read, each with the reason.

    Raises:
        ValueError: More than the allowed share of all samples cannot be read.
    """
    listed = _listed(faults)
    if len(faults) > max_unreadable * count:
        raise ValueError(
            f"{len(faults)} of {count} samples cannot be read, "
            f"more than max_unreadable={max_unreadable:g} of them: {listed}"
        )
    return f"{len(faults)} of {count} samples cannot be read and are left out: {listed}"


def reason(error: Exception, name: str = "") -> str:
    """Kind and first line of an error, without the name of the sample if that is said beside it."""
    kind, line = type(error).__name__, str(error).partition("\n")[0]
    if name:
        line = line.replace(f"'{name}'", name).removeprefix(f"{name}: ").removesuffix(f": {name}")
    return f"{kind}: {line}" if line else kind


def class_sizes_note(data: TargetData) -> str | None:
    """What is odd about the classes: uneven sizes, about as many as samples, names that look alike.

    They are uneven where the largest has ten times the smallest's samples.
    """
    if data.task == "regression":
        return None
    said = [*_sizes(data), *_look_alikes(data)]
    return "; ".join(said) if said else None


def _sizes(data: TargetData) -> list[str]:
    if data.task == "classification":
        classes, sizes = data.targets.unique(return_counts=True)
    else:
        sizes = data.targets.sum(0)
        classes = torch.arange(len(sizes), device="cpu")
    if len(data) >= FEW and len(classes) > len(data) / 2 and data.task == "classification":
        return [f"there are {len(classes)} classes for {len(data)} samples: are these labels?"]
    large, small = int(sizes.argmax()), int(sizes.argmin())
    most, least = int(sizes[large]), int(sizes[small])
    if most < UNEVEN * max(least, 1):
        return []
    return [
        f"classes are uneven: {_called(data, classes[large])} has {most} samples, "
        f"{_called(data, classes[small])} has {least}; scores say most about the large ones"
    ]


def _look_alikes(data: TargetData) -> list[str]:
    alike: dict[str, list[str]] = {}
    for name in data.class_names or ():
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    several = [", ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if not several:
        return []
    return [f"classes differ by case or spaces only: {_listed(several)}"]


def _called(data: TargetData, label: Tensor) -> str:
    return f"class {int(label)}" if data.class_names is None else data.class_names[int(label)]


def _of_one_kind(data: TargetData) -> bool:
    """Whether the samples need no look at each: none, texts, or an array that holds any values."""
    samples = data.samples
    if isinstance(samples, np.ndarray | Tensor):
        whole = str(samples.dtype).rpartition(".")[2]
        return whole in ("uint8", "bool") or whole.startswith(("float", "bfloat", "str", "<U"))
    if samples is None:
        return True
    return isinstance(samples, list | tuple) and all(isinstance(x, str) for x in samples)


def _seen(data: TargetData) -> Iterator[Seen]:
    """Each sample, read once."""

    def look(index: int) -> Seen:
        try:
            sample = data.stored(index)
            shown = data.pixels.prepared(sample)
        except Exception as error:  # decoders raise whatever their format makes them
            return Seen(reason(error, data.name_of(index)))
        frames = getattr(sample, "is_animated", False)
        hidden = isinstance(shown, Image.Image) and data.pixels.hides(sample, shown)
        return Seen(None, frames, peak_of_16_bits(sample), hidden)

    if not isinstance(data.samples, ImageFiles):  # others need not bear threads
        yield from map(look, range(len(data)))
        return
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(look, range(len(data)))


def _check_bits(data: TargetData, peaks: Sequence[int]) -> None:
    """Refuses 16-bit images of 12 bits or fewer: divided by 257, they would be nearly black."""
    used = max(peaks, default=0).bit_length()
    if peaks and data.pixels.bits is None and used <= DARK:
        bits = max(used, 8)
        raise ValueError(
            f"the {len(peaks)} images of 16 bits hold no value above {max(peaks)} of 65535 and "
            f"would be nearly black; say bits={bits} (in as_target_data, or --bits {bits}) if that "
            "is all they use, bits=16 if they are that dark"
        )


def _frames_note(data: TargetData, seen: Sequence[Seen]) -> list[str]:
    several = [data.name_of(i) for i, s in enumerate(seen) if s.frames and not s.fault]
    if not several:
        return []
    return [f"of {len(several)} images with several frames the first is taken: {_listed(several)}"]


def _hidden_note(data: TargetData, seen: Sequence[Seen]) -> list[str]:
    hidden = [data.name_of(i) for i, s in enumerate(seen) if s.hidden]
    if not hidden:
        return []
    colour = data.pixels.background
    return [
        f"{len(hidden)} images with transparency show nothing on {colour}; another background may "
        f"help: {_listed(hidden)}"
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
