"""Data sets of the Hugging Face `datasets` library, by name, folder or object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubfast.data.columns import TARGETS, TEXTS, choose_columns
from hubfast.data.labels import Labels, encoded
from hubfast.data.target import TargetData
from hubfast.optional import require
from hubfast.scores.inputs import Task, as_targets

SAVED = ("dataset_info.json", "dataset_dict.json")  # what save_to_disk leaves


def load_hf_dataset(spec: str) -> Any:
    """The data set that `NAME`, `NAME:CONFIG`, `NAME@SPLIT` or a folder in place of NAME is.

    Without a split it is `train`: a ranking on test data selects on test data.

    Raises:
        ModuleNotFoundError, ValueError: `datasets` is not installed; no such split.
    """
    datasets = require("datasets", "data", f"hfdata:{spec}")
    place, _, split = spec.partition("@")
    split = split or "train"
    folder = Path(place)
    if folder.is_dir() and any((folder / file).exists() for file in SAVED):
        found = datasets.load_from_disk(place)
        if not isinstance(found, datasets.DatasetDict):
            return found
        if split not in found:
            raise ValueError(f"{place} has the splits {sorted(found)}, not {split!r}")
        return found[split]
    name, _, config = (place, "", "") if folder.is_dir() else place.partition(":")
    return datasets.load_dataset(name, config or None, split=split)


def is_hf_dataset(data: Any) -> bool:
    """Whether it is a `datasets.Dataset`, told without importing the library."""
    return type(data).__module__.startswith("datasets.")


def from_hf_dataset(
    dataset: Any,
    task: Task | None,
    name: str | None,
    sample_column: str | None,
    target_columns: str | Sequence[str] | None,
) -> TargetData:
    """Images or texts with the class names that the data set has.

    Raises:
        ValueError: Columns that are not there, several splits, or samples without labels.
    """
    features = getattr(dataset, "features", None)
    if features is None or not hasattr(type(dataset), "__len__"):  # several splits, or a stream
        raise ValueError(f"data must be one split of a data set, got {type(dataset).__name__}")
    sample = sample_column or _sample_column(features)
    labelled = [c for c, f in features.items() if type(f).__name__ == "ClassLabel"]
    usual = any(c.lower() in TARGETS for c in features)
    wanted = labelled[:1] if target_columns is None and labelled and not usual else target_columns
    columns = choose_columns(list(features), sample, wanted)
    labels = _labels(dataset, features, columns.targets, task)
    targets, task = as_targets(labels.values, len(dataset), task)
    samples = None if columns.sample is None else _Column(dataset, columns.sample)
    title = name or getattr(dataset.info, "dataset_name", None) or "dataset"
    return TargetData(title, samples, targets, task, labels.class_names)


def _labels(dataset: Any, features: Any, columns: Sequence[str], task: Task | None) -> Labels:
    table = dataset.select_columns(list(columns)).with_format(None)[:]
    labels = encoded([table[column] for column in columns], columns, task)
    feature = features[columns[0]]
    inner = getattr(feature, "feature", feature)  # of a list of labels
    names = getattr(inner, "names", None)
    if names is None or len(columns) > 1:
        return labels
    if labels.values.ndim == 1:
        if (unlabelled := int((labels.values < 0).sum())) > 0:
            raise ValueError(f"every sample must have a label, {unlabelled} have none (-1)")
        return Labels(labels.values, tuple(names))
    return Labels(labels.values, tuple(names[int(i)] for i in labels.class_names or ()))


def _sample_column(features: Any) -> str | None:
    """The first of images, else of texts by the usual names, else of texts."""
    kinds = {c: (type(f).__name__, getattr(f, "dtype", "")) for c, f in features.items()}
    images = [c for c, (kind, _) in kinds.items() if kind == "Image"]
    texts = [c for c, (kind, dtype) in kinds.items() if kind == "Value" and "string" in dtype]
    usual = [c for c in texts if c.lower() in TEXTS]
    others = [c for c in texts if c.lower() not in TARGETS]
    return next(iter([*images, *usual, *others]), None)


class _Column(Sequence[Any]):
    """One column, each value decoded when it is asked for."""

    def __init__(self, dataset: Any, column: str):
        self.dataset, self.column = dataset.select_columns([column]), column

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(index)][self.column]
