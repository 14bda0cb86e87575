"""The data of a run in parts, to train on, to hold out and to test on, classes matched by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hubfast.data import MAX_UNREADABLE, TargetData, as_target_data, readable
from hubfast.data.class_names import classes_of, listed
from hubfast.data.pixels import Pixels
from hubfast.scores.inputs import Task
from hubfast.tuning.labels import TargetEncoder, aligned


class Columns(NamedTuple):
    """Names of a table's columns, see `hubfast.data.as_target_data`; None for the usual names."""

    sample: str | Sequence[str] | None = None  # two columns for pairs of texts
    targets: str | Sequence[str] | None = None


USUAL = Columns()


@dataclass(frozen=True, eq=False)
class Parts:
    """Training data, and what the tuned model is evaluated on."""

    train: TargetData
    labels: TargetEncoder  # what the classes or columns of the training data are
    held_out: dict[str, TargetData] = field(default_factory=dict)  # "validation", "test"
    notes: tuple[str, ...] = ()  # what a reader of the results should know

    @classmethod
    def of(
        cls,
        data: Any,
        validation: Any,
        test: Any,
        *,
        task: Task | None = None,
        columns: Columns = USUAL,
        seed: int = 0,
        max_unreadable: float = MAX_UNREADABLE,
        progress: bool = True,
    ) -> "Parts":
        """Reads and checks all data before anything runs on it.

        Args:
            data: Training data, see `hubfast.data.as_target_data`.
            validation: Share of `data` held out, or data of its own; 0 for none.
            test: Data to evaluate on in the end, or None.
            task: What the targets pose; None to tell it from those of the training data.
            columns: Names of the columns of all tables among the data.
            seed: Seed of the split.
            max_unreadable: Share of the samples of each data set that may be unreadable.
            progress: Whether to show bars.

        Raises:
            ValueError, TypeError: Data that cannot be read, that poses another task than the
                training data, or that has classes which the training data lacks; training data
                with a column of regression targets that are all the same.
        """

        def read(given: Any, task: Task | None, pixels: Pixels) -> TargetData:
            found = as_target_data(
                given,
                task=task,
                sample_column=columns.sample,
                target_columns=columns.targets,
                background=pixels.background,
                bits=pixels.bits,
                progress=progress,
            )
            return readable(found, max_unreadable, progress=progress)

        def read_held(part: str, given: Any) -> TargetData:
            try:
                return read(given, train.task, train.pixels)
            except ValueError as error:  # which would not say that it is not the training data
                raise ValueError(f"{part} data: {error}") from error

        share = float(validation) if isinstance(validation, Real) else None
        if share is not None and not 0 <= share < 1:
            raise ValueError(f"validation must be a share in 0..1 or data, got {validation}")
        train = read(data, task, Pixels())
        notes, held = train.notes, {}
        if share is None:
            held["validation"] = read_held("validation", validation)
        elif share > 0:
            train, held["validation"], moved = _split(train, share, seed)
            notes += moved
        if test is not None:
            held["test"] = read_held("test", test)
        labels = TargetEncoder.of(train)
        _check_varied(train, labels)
        own = set(train.notes)
        for name, part in held.items():
            found = [*(n for n in part.notes if n not in own), *aligned(part, labels).notes]
            notes += tuple(f"{name}: {note}" for note in found)
        return cls(train, labels, held, notes)


def _check_varied(train: TargetData, labels: TargetEncoder) -> None:
    """Refuses targets for regression that leave nothing to learn.

    Raises:
        ValueError: All samples have the same value in a column.
    """
    if train.task != "regression":
        return
    noise = torch.finfo(torch.float32).eps * train.targets.abs().amax(0)  # of the training's type
    spread = train.targets.amax(0) - train.targets.amin(0)
    constant = [labels.names[c] for c in (spread <= noise).nonzero().flatten().tolist()]
    if constant:
        which = "" if len(labels.names) == 1 else f" in the columns {listed(constant)}"
        value = float(train.targets[0, int((spread <= noise).nonzero()[0])])
        raise ValueError(
            f"targets for regression must vary, got {value:g} for all {len(train)} training "
            f"samples{which}"
        )


def _split(
    data: TargetData, share: float, seed: int
) -> tuple[TargetData, TargetData, tuple[str, ...]]:
    """The training part, which has every class of the data, the held-out part, and notes."""
    single = _of_single_samples(data)
    several = (~single).nonzero().flatten()
    if len(several) < 2:
        raise ValueError(
            f"validation={share:g} must leave samples to hold out, but the classes of data "
            f"{data.name!r} have one sample each; give validation=0 or validation data"
        )
    if not 0 < round((1 - share) * len(several)) < len(several):
        raise ValueError(
            f"validation={share:g} must leave both parts samples, of {len(several)}; give another "
            "share, validation=0 or validation data"
        )
    first, second = (part.rows() for part in _numbered(data, several).split(1 - share, seed))
    trained = torch.zeros(len(data), dtype=torch.bool, device="cpu")
    trained[first] = True
    trained[single] = True
    for needed in _kinds(data):
        if not bool((needed & trained).any()):  # by chance, all of this class were held out
            trained[needed.nonzero()[0]] = True
    if bool(trained.all()):
        raise ValueError(
            f"validation={share:g} must leave samples to hold out: the {len(second)} of them are "
            "all that there are of their classes; give a larger share or validation data"
        )
    notes: tuple[str, ...] = ()
    if bool(single.any()):
        names = classes_of(data.subset(single.nonzero().flatten()))
        called = listed(names.names or names.ids)
        notes = (f"classes of one sample, which is only trained on: {called}",)
    return (
        data.subset(trained.nonzero().flatten()),
        data.subset((~trained).nonzero().flatten()),
        notes,
    )


def _numbered(data: TargetData, index: Tensor) -> TargetData:
    """The samples at `index` as data whose rows are their positions in `data`."""
    return TargetData(data.name, None, data.targets[index], data.task, positions=index)


def _of_single_samples(data: TargetData) -> Tensor:
    """`(n,)` bool: samples that are the only one of their class."""
    if data.task != "classification":
        return torch.zeros(len(data), dtype=torch.bool, device="cpu")
    _, index, sizes = data.targets.unique(return_inverse=True, return_counts=True)
    return sizes[index] == 1


def _kinds(data: TargetData) -> Iterator[Tensor]:
    """Yields which samples have a class or label, for each that some sample has."""
    if data.task == "classification":
        yield from (data.targets == c for c in data.targets.unique())
    if data.task == "multilabel":
        yield from (column > 0 for column in data.targets.T if bool(column.any()))
