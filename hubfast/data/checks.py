"""Checks of target data before any model sees it: unreadable samples, uneven classes."""

from dataclasses import replace

import torch
from torch import Tensor

from hubfast.data.reading import Findings, listed, need_no_look, read_each
from hubfast.data.target import TargetData
from hubfast.utils.arguments import check_number
from hubfast.utils.progress import progress_bar

MAX_UNREADABLE = 0.05
FEW = 20  # samples, below which each may well have a class of its own
UNEVEN = 10.0  # the largest class over the smallest, from which it is said


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
    check_share(max_unreadable)
    if need_no_look(data):
        return data
    seen = []
    with progress_bar(progress) as bars:
        bar = bars.add_task("reading samples", total=len(data))
        for each, _ in read_each(data, lambda position, sample: None):
            seen.append(each)
            bars.advance(bar)
    findings = Findings()
    findings.add(data, seen)
    findings.check_bits(data.pixels.bits)
    notes = findings.notes(data, max_unreadable)
    if not notes:
        return data
    kept = torch.tensor([i for i, one in enumerate(seen) if not one.fault], device="cpu")
    found = data if len(kept) == len(data) else data.subset(kept)
    return replace(found, notes=(*found.notes, *notes))


def check_share(max_unreadable: float) -> None:
    """Refuses what is no share of the samples.

    Raises:
        TypeError: `max_unreadable` is no number.
        ValueError: `max_unreadable` is not in [0, 1].
    """
    check_number(max_unreadable, "max_unreadable")
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be in 0..1, got {max_unreadable}")


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
    return [f"classes differ by case or spaces only: {listed(several)}"]


def _called(data: TargetData, label: Tensor) -> str:
    return f"class {int(label)}" if data.class_names is None else data.class_names[int(label)]
