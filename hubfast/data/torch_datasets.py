"""Torch Datasets: the targets that `dataset[i]` gives, transforms included."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset

from hubfast.data.checks import MAX_UNREADABLE
from hubfast.data.joined import Renumbered, joined, nameless_note
from hubfast.data.labels import EncodedTargets, encoded
from hubfast.data.reading import left_out, reason
from hubfast.data.target import TargetData
from hubfast.data.texts import as_text
from hubfast.scores.inputs import Task, as_targets
from hubfast.utils.progress import progress_bar

# The data sets of torchvision whose `dataset[i]` gives what this attribute holds.
ATTRIBUTES = {
    **dict.fromkeys(("CIFAR10", "CIFAR100"), "targets"),
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "EMNIST"), "targets"),
    **dict.fromkeys(("SVHN", "STL10"), "labels"),
}


class Firsts(Sequence[Any]):
    """The samples of pairs (sample, target), read when they are asked for."""

    def __init__(self, pairs: Any):
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: Any) -> Any:
        return as_text(self.pairs[index][0])


def from_dataset(
    dataset: Any, task: Task | None, name: str | None, *, progress: bool = True
) -> TargetData:
    """Takes the pairs of a map-style data set.

    Targets are those that `dataset[i]` gives. Where it is certain what these are without reading
    all samples, they are taken at once; else every sample is read.

    Raises:
        ValueError: The data set has no length, gives no pairs, or more than 5 % of it fails.
    """
    _check_length(dataset)
    title = name or type(dataset).__name__
    dataset = joined(dataset, _class_names)
    certain = known_targets(dataset)
    names = _class_names(dataset)
    note = nameless_note(dataset, _class_names)
    if certain is not None:
        labels = EncodedTargets(np.asarray(certain), names)
        return _target_data(dataset, labels, None, (note,) if note else (), task, title)
    found = from_pairs(dataset, task, title, names, progress=progress)
    return replace(found, notes=(*found.notes, note)) if note else found


def _check_length(dataset: Any) -> None:
    """Refuses what has no length, or no whole number for one.

    Raises:
        ValueError: The message says what it has instead.
    """
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise ValueError(f"data must be a Dataset with a length, got {kind}")
    try:
        len(dataset)
    except Exception as error:  # the data set's own code
        said = reason(error)
        raise ValueError(f"data must be a Dataset with a length, got {kind}: {said}") from error


def from_pairs(
    pairs: Any, task: Task | None, name: str, names: tuple[str, ...] | None, *, progress: bool
) -> TargetData:
    """Takes samples of pairs whose targets are found by reading each once.

    Args:
        pairs: A sequence of pairs (sample, target).
        task: The task that the targets pose; None to tell it from them.
        name: The name shown in reports.
        names: Names of the classes, where the targets are integers.
        progress: Show a bar.
    """
    found: dict[int, Any] = {}
    faults: dict[int, str] = {}
    with progress_bar(progress) as bars:
        bar = bars.add_task("reading targets", total=len(pairs))
        for index in range(len(pairs)):
            try:
                pair = pairs[index]
            except Exception as error:  # decoders raise whatever their format makes them
                faults[index] = f"sample {index} ({reason(error)})"
            else:
                found[index] = _target_of(pair, index)
            bars.advance(bar)
    notes = [] if not faults else [left_out(list(faults.values()), len(pairs), MAX_UNREADABLE)]
    labels = _as_labels(list(found.values()), task)
    if labels.class_names is None and names is not None:
        labels, said = _named(pairs, labels, names, list(found))
        notes += said
    positions = torch.tensor(list(found), device="cpu") if faults else None
    return _target_data(pairs, labels, positions, notes, task, name)


def known_targets(dataset: Any) -> Any | None:
    """The targets of `dataset[i]` for each i where they are certain without reading it, or None."""
    if type(dataset) is Renumbered:
        inner = known_targets(dataset.pairs)
        return None if inner is None else np.asarray(dataset.numbers)[np.asarray(inner)]
    if type(dataset) is Subset:
        inner = known_targets(dataset.dataset)
        return None if inner is None else np.asarray(inner)[np.asarray(dataset.indices, dtype=int)]
    if type(dataset) is ConcatDataset:
        parts = [known_targets(part) for part in dataset.datasets]
        known = [np.asarray(part) for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    if type(dataset) is TensorDataset and len(dataset.tensors) > 1:
        return dataset.tensors[1].cpu()
    if not type(dataset).__module__.startswith("torchvision.datasets.") or _maps_targets(dataset):
        return None
    if type(dataset).__name__ in ("ImageFolder", "DatasetFolder"):
        return [target for _, target in dataset.samples]
    attribute = ATTRIBUTES.get(type(dataset).__name__)
    return None if attribute is None else getattr(dataset, attribute, None)


def _maps_targets(dataset: Any) -> bool:
    """Whether a data set of torchvision, or one with its attributes, changes its targets."""
    if getattr(dataset, "target_transform", None) is not None:
        return True
    both = getattr(dataset, "transforms", None)
    if both is None:
        return False
    separate = type(both).__name__ == "StandardTransform"
    return not separate or both.target_transform is not None


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Names of the classes, where targets are still positions in them."""
    if type(dataset) is Subset:
        return _class_names(dataset.dataset)
    if type(dataset) is ConcatDataset:
        first, *others = [_class_names(part) for part in dataset.datasets]
        return first if all(names == first for names in others) else None
    names = getattr(dataset, "classes", None)
    if not isinstance(names, list | tuple) or _maps_targets(dataset):
        return None
    return tuple(map(str, names))


def _named(
    pairs: Any, labels: EncodedTargets, names: tuple[str, ...], read: Sequence[int]
) -> tuple[EncodedTargets, list[str]]:
    """Labels with the names of classes, unless the data set's own attribute tells otherwise."""
    values = labels.values
    stated = getattr(pairs, "targets", getattr(pairs, "labels", None))
    if (
        stated is not None
        and len(stated) == len(pairs)
        and not np.array_equal(np.asarray(stated)[np.asarray(read)], values)
    ):
        note = "the data set gives other targets than it keeps; those that it gives count"
        return labels, [note]
    fits = values.ndim == 1 and values.dtype.kind in "biu" and 0 <= values.min() <= values.max()
    if fits and values.max() < len(names):
        return EncodedTargets(values, names), []
    return labels, []


def _target_of(pair: Any, index: int) -> Any:
    if not isinstance(pair, tuple | list) or len(pair) < 2:
        raise ValueError(
            f"data must give pairs (sample, target), item {index} is a {type(pair).__name__}"
            + (f" of {len(pair)}" if isinstance(pair, tuple | list) else "")
            + (f" of {sorted(map(str, pair))}" if isinstance(pair, Mapping) else "")
        )
    target = pair[1]
    return target.detach().cpu().numpy() if isinstance(target, torch.Tensor) else target


def _as_labels(targets: list[Any], task: Task | None) -> EncodedTargets:
    if any(isinstance(target, Mapping) for target in targets):
        raise TypeError("targets must be numbers or words, got dicts")
    if any(t is None or isinstance(t, str) or _has_words(t) for t in targets):
        return encoded([targets], ["targets"], task)
    try:
        shapes = {np.shape(target) for target in targets}
    except ValueError as error:
        raise ValueError(f"targets must be numbers or arrays of one shape: {error}") from error
    if len(shapes) > 1:
        raise ValueError(f"targets must have one shape, got {sorted(shapes)[:5]}")
    return EncodedTargets(np.asarray(targets))


def _has_words(target: Any) -> bool:
    return isinstance(target, list | tuple) and any(isinstance(x, str) for x in target)


def _target_data(
    pairs: Any,
    labels: EncodedTargets,
    positions: torch.Tensor | None,
    notes: Sequence[str],
    task: Task | None,
    name: str | None,
) -> TargetData:
    values, task = as_targets(labels.values, len(labels.values), task)
    title = name or type(pairs).__name__
    return TargetData(
        title, Firsts(pairs), values, task, labels.class_names, positions, notes=tuple(notes)
    )
