"""Several data sets as one, whose classes are matched by name and not by number."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset, Dataset, Subset

from hubfast.data.class_names import same_name


class Renumbered(Dataset):
    """The pairs of a data set whose classes have other numbers.

    Args:
        pairs: Pairs (sample, class number).
        numbers: The new number of each class.
        classes: Names by new number.
    """

    def __init__(self, pairs: Any, numbers: Sequence[int], classes: Sequence[str]):
        self.pairs, self.numbers, self.classes = pairs, numbers, list(classes)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        sample, target = self.pairs[index][:2]
        return sample, self.numbers[int(target)]


def joined(dataset: Any, names_of: Any) -> Any:
    """Gives the data set itself, or one in which equal names have equal numbers.

    Folders that lack a class number the others from 0 again: in a `ConcatDataset` of them one
    number would stand for several classes.

    Args:
        dataset: A data set, whose parts are looked at if it is a `ConcatDataset`, also below a
            `Subset`.
        names_of: A function that gives the class names of a part, or None where its targets are no
            positions in names.

    Raises:
        ValueError: Some parts have different class names, and others have none.
    """
    if type(dataset) is Subset:
        inner = joined(dataset.dataset, names_of)
        return dataset if inner is dataset.dataset else Subset(inner, dataset.indices)
    if type(dataset) is not ConcatDataset:
        return dataset
    parts = [joined(part, names_of) for part in dataset.datasets]
    names = [names_of(part) for part in parts]
    if all(each == names[0] for each in names):
        return dataset if parts == dataset.datasets else ConcatDataset(parts)
    if None in names:
        if len({each for each in names if each is not None}) > 1:
            raise ValueError(
                "data sets that are joined must have class names, where others have different "
                f"ones: part {names.index(None)} of the ConcatDataset has none"
            )
        return dataset  # see `nameless_note`
    union = dict.fromkeys(same_name(name) for each in names for name in each)
    number = {name: k for k, name in enumerate(union)}
    return ConcatDataset(
        [
            Renumbered(part, [number[same_name(name)] for name in each], tuple(union))
            for part, each in zip(parts, names, strict=True)
        ]
    )


def nameless_note(dataset: Any, names_of: Any) -> str:
    """What to say where some parts have class names and others have not; else empty."""
    if type(dataset) is Subset:
        return nameless_note(dataset.dataset, names_of)
    if type(dataset) is not ConcatDataset:
        return ""
    names = [names_of(part) for part in dataset.datasets]
    without = [k for k, each in enumerate(names) if each is None]
    if not without or len(without) == len(names):
        return ""
    return f"parts {without} of the ConcatDataset have no class names: all are joined by number"
