"""What the outputs of a tuned model stand for, and the targets of any data in their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hubfast.data import TargetData
from hubfast.data.class_names import Classes, classes_of, listed, matched
from hubfast.utils.moved import renamed_attributes


@renamed_attributes(deviation="std")
@dataclass(frozen=True, eq=False)
class TargetEncoder:
    """What the outputs of a tuned model stand for."""

    task: str  # "classification", "multilabel" or "regression"
    outputs: int
    names: tuple[str, ...]  # what the classes or columns are called
    classes: Tensor | None = None  # (C,) ids in the training data, one per output
    mean: Tensor | None = None  # (C,) means of regression targets
    std: Tensor | None = None  # (C,) standard deviations of regression targets
    named: bool = True  # False where the data has no names: `names` are then ids or positions

    @classmethod
    def of(cls, data: TargetData) -> "TargetEncoder":
        """What the outputs of a model for this training data stand for.

        Raises:
            ValueError: Fewer than two classes, or a class without a name among named ones.
        """
        named = data.class_names is not None
        if data.task == "classification":
            ids, given = classes_of(data)
            if len(ids) < 2:
                raise ValueError(f"data must have at least 2 classes, got {list(given or ids)}")
            names = tuple(map(str, ids)) if given is None else given
            return cls(
                "classification", len(ids), names, torch.tensor(ids, device="cpu"), named=named
            )
        columns = data.targets.shape[1]
        names = tuple(map(str, range(columns) if data.class_names is None else data.class_names))
        if data.task == "multilabel":
            return cls("multilabel", columns, names, named=named)
        std = data.targets.std(0).clamp(min=torch.finfo(torch.float32).tiny).float()
        mean = data.targets.mean(0).float()
        return cls("regression", columns, names, mean=mean, std=std, named=named)

    def encode(self, data: TargetData) -> Tensor:
        """The targets of `data` in the order of the outputs; see `aligned`."""
        return aligned(data, self).targets

    @property
    def key(self) -> list[str]:
        """Task and names in the order of the outputs: equal for labels of one meaning."""
        return [self.task, *self.names]

    def check_same(self, other: "TargetEncoder") -> None:
        """Refuses labels of another order, so that positions never stand for other names.

        Raises:
            ValueError: The outputs stand for something else.
        """
        if self.key != other.key:
            raise ValueError(
                f"images must be encoded with the labels that the model is trained for, "
                f"{self.task} of {listed(self.names)}, got {other.task} of {listed(other.names)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a file beside the model."""
        values = {name: getattr(self, name) for name in ("classes", "mean", "std")}
        lists = {name: None if x is None else x.tolist() for name, x in values.items()}
        return {"task": self.task, "names": list(self.names), "named": self.named, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TargetEncoder":
        """Reads what `as_dict` gave, such as the content of a saved model's `labels.json`."""
        known = {"std": values.get("deviation"), **values}  # its name in files of version 0.1
        tensors = {
            name: None if (x := known.get(name)) is None else torch.tensor(x, device="cpu")
            for name in ("classes", "mean", "std")
        }
        names = tuple(values["names"])
        return cls(values["task"], len(names), names, named=values.get("named", True), **tensors)


class Aligned(NamedTuple):
    """Targets of data in the order of a model's outputs."""

    targets: Tensor  # (n,) int64 positions in `labels.names`, or (n, C) float32 in their order
    notes: tuple[str, ...]  # classes without samples, names that one side lacks


def aligned(data: TargetData, labels: TargetEncoder) -> Aligned:
    """Targets of `data` as a loss wants them; classes and columns are found by their names.

    The order or the ids that classes have in `data` do not matter. Where neither side has names,
    ids are compared. Classes that `data` has no samples of are named in the notes, and so is a
    side without names; see `hubfast.data.class_names.matched`.

    Raises:
        ValueError: Another task; classes or columns that the labels do not have; regression columns
            that the data lacks. The message names them.
    """
    if data.task != labels.task:
        raise ValueError(
            f"data {data.name!r} must have targets for {labels.task}, as the training data has, "
            f"got {data.task}"
        )
    return _classes(data, labels) if labels.task == "classification" else _columns(data, labels)


def _classes(data: TargetData, labels: TargetEncoder) -> Aligned:
    ids = tuple(range(labels.outputs)) if labels.classes is None else labels.classes.tolist()
    given = classes_of(data)
    known = Classes(tuple(ids), labels.names if labels.named else None)
    match = matched(given, known, data.name)
    called = given.names or given.ids
    unknown = [c for c, at in zip(called, match.positions, strict=True) if at is None]
    if unknown:
        raise ValueError(
            f"data {data.name!r} has classes that the training data lacks: {listed(unknown)}; "
            f"the training data has {listed(labels.names)}"
        )
    positions = torch.tensor(match.positions, dtype=torch.int64, device="cpu")
    _, index = data.targets.unique(return_inverse=True)
    absent = [name for at, name in enumerate(labels.names) if at not in match.positions]
    return Aligned(positions[index], _notes(match.note, data, labels, absent))


def _columns(data: TargetData, labels: TargetEncoder) -> Aligned:
    columns, what = data.targets.float(), f"data {data.name!r}"
    kind = "labels" if labels.task == "multilabel" else "target columns"
    if data.class_names is None or not labels.named:
        if columns.shape[1] != labels.outputs:
            raise ValueError(f"{what} must have {labels.outputs} {kind}, got {columns.shape[1]}")
        side = what if data.class_names is None else "the training data"
        one_side = (data.class_names is None) == labels.named
        note = f"{side} has no names of {kind}: they are matched by their order" * one_side
        return Aligned(columns, _notes(note, data, labels, []))
    given, known = _by_position(data.class_names), _by_position(labels.names)
    match = matched(given, known, data.name)
    unknown = [
        data.class_names[k]
        for k, at in enumerate(match.positions)
        if at is None and (labels.task == "regression" or bool(columns[:, k].any()))
    ]
    absent = [name for at, name in enumerate(labels.names) if at not in match.positions]
    if unknown:
        raise ValueError(f"{what} has {kind} that the training data lacks: {listed(unknown)}")
    if absent and labels.task == "regression":
        raise ValueError(f"{what} lacks {kind} that the training data has: {listed(absent)}")
    found = columns.new_zeros(len(columns), labels.outputs)  # a label that data lacks is on nowhere
    for k, at in enumerate(match.positions):
        if at is not None:
            found[:, at] = columns[:, k]
    return Aligned(found, _notes(match.note, data, labels, absent))


def _by_position(names: tuple[str, ...]) -> Classes:
    return Classes(tuple(range(len(names))), tuple(map(str, names)))


def _notes(how: str, data: TargetData, labels: TargetEncoder, absent: list[str]) -> tuple[str, ...]:
    notes = (how,) if how else ()
    if absent:
        count = f"{len(absent)} of the {labels.outputs} classes trained on"
        notes = (*notes, f"data {data.name!r} has no samples of {count}: {listed(absent)}")
    return notes
