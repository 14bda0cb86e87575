"""Checks of target data before any model sees it: unreadable samples, uneven classes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hubfast.data.images import ImageFiles
from hubfast.data.target import TargetData
from hubfast.progress import progress_bar
from hubfast.threads import cores

MAX_UNREADABLE = 0.05
UNEVEN = 10.0  # the largest class over the smallest, from which it is said
NAMED = 20  # unreadable samples named in a note; more are counted


def readable(
    data: TargetData, max_unreadable: float = MAX_UNREADABLE, *, progress: bool = True
) -> TargetData:
    """The samples that can be read, so that every model sees the same ones.

    Each sample that is not in memory is read and decoded once. Those that cannot be are left out,
    and counted and named in the `notes` of the result.

    Args:
        data: Target data.
        max_unreadable: Share of unreadable samples, in [0, 1], above which something else is wrong.
        progress: Show a bar.

    Raises:
        ValueError: More than that share cannot be read, or `max_unreadable` is no share.
    """
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be in 0..1, got {max_unreadable}")
    if _in_memory(data.samples):
        return data
    with progress_bar(progress) as bars:
        bar = bars.add_task("reading samples", total=len(data))
        faults: dict[int, str] = {}
        for index, fault in enumerate(_faults(data)):
            if fault is not None:
                faults[index] = fault
            bars.advance(bar)
    if not faults:
        return data
    named = [f"{data.name_of(i)} ({fault})" for i, fault in faults.items()]
    listed = ", ".join(named[:NAMED]) + (f" and {len(named) - NAMED} more" * (len(named) > NAMED))
    if len(faults) > max_unreadable * len(data):
        raise ValueError(
            f"{len(faults)} of {len(data)} samples cannot be read, "
            f"more than max_unreadable={max_unreadable:g} of them: {listed}"
        )
    kept = torch.tensor([i for i in range(len(data)) if i not in faults])
    note = f"{len(faults)} of {len(data)} samples cannot be read and are left out: {listed}"
    return replace(data.subset(kept), notes=(*data.notes, note))


def class_sizes_note(data: TargetData) -> str | None:
    """A sentence on uneven classes, where the largest has ten times the smallest's samples."""
    if data.task == "regression":
        return None
    if data.task == "classification":
        classes, sizes = data.targets.unique(return_counts=True)
    else:
        sizes = data.targets.sum(0)
        classes = torch.arange(len(sizes))
    large, small = int(sizes.argmax()), int(sizes.argmin())
    most, least = int(sizes[large]), int(sizes[small])
    if most < UNEVEN * max(least, 1):
        return None
    return (
        f"classes are uneven: {_called(data, classes[large])} has {most} samples, "
        f"{_called(data, classes[small])} has {least}; scores say most about the large ones"
    )


def _called(data: TargetData, label: Tensor) -> str:
    return f"class {int(label)}" if data.class_names is None else data.class_names[int(label)]


def _in_memory(samples: Sequence[Any] | None) -> bool:
    if samples is None or isinstance(samples, np.ndarray | Tensor):
        return True
    kinds = (str, np.ndarray, Tensor, Image.Image)
    return isinstance(samples, list | tuple) and all(isinstance(x, kinds) for x in samples)


def _faults(data: TargetData) -> Iterator[str | None]:
    """For each sample why it cannot be read, or None."""

    def fault(index: int) -> str | None:
        try:
            data[index]
        except Exception as error:  # decoders raise whatever their format makes them
            kind, line = type(error).__name__, str(error).partition("\n")[0]
            return kind if data.name_of(index) in line else f"{kind}: {line}"  # not named twice
        return None

    if not isinstance(data.samples, ImageFiles):  # others need not bear threads
        yield from map(fault, range(len(data)))
        return
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(fault, range(len(data)))
