"""Data sets of the Hugging Face `datasets` library, by name, folder or object."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from hubfast.data.columns import ChosenColumns, Kind, choose_columns
from hubfast.data.images import image_suffixes
from hubfast.data.labels import EncodedTargets, encoded
from hubfast.data.target import TargetData
from hubfast.data.texts import TextPair, checked_pair, words_and_tags, words_note
from hubfast.data.torch_datasets import from_pairs
from hubfast.scores.inputs import Task, as_targets
from hubfast.utils.decoding import decoding
from hubfast.utils.extras import require

FORMATS = (None, "python", "numpy", "torch")  # of single samples, for set_format
NA_IS_A_WORD = {"keep_default_na": False, "na_values": [""]}  # as in tables of other kinds
OTHER_LOADERS = {".json", ".jsonl", ".parquet", ".arrow", ".txt", ".py", ".zip"}
SAVED = ("dataset_info.json", "dataset_dict.json")  # what save_to_disk leaves


def load_hf_dataset(spec: str) -> Any:
    """Loads the data set that `NAME`, `NAME:CONFIG`, `NAME@SPLIT` or a folder instead of NAME is.

    Without a split it is `train`: a ranking on test data selects on test data.

    Raises:
        ModuleNotFoundError: `datasets` is not installed.
        ValueError: There is no such split.
    """
    if not spec.partition("@")[0].strip():
        raise ValueError(f"data must be hfdata:NAME or hfdata:FOLDER, got 'hfdata:{spec}'")
    datasets = require("datasets", "data", f"hfdata:{spec}")
    place, _, split = spec.partition("@")
    split = split or "train"
    folder = Path(place)
    if folder.is_dir() and any((folder / file).exists() for file in SAVED):
        with decoding(place, "cannot be read as a data set that was saved there"):
            saved = datasets.load_from_disk(place)
        if not isinstance(saved, datasets.DatasetDict):
            return saved
        if split not in saved:
            raise ValueError(f"{place} has the splits {sorted(saved)}, not {split!r}")
        return saved[split]
    name, _, config = (place, "", "") if folder.is_dir() else place.partition(":")
    how = NA_IS_A_WORD if folder.is_dir() and _of_csv_only(folder) else {}
    with decoding(f"hfdata:{spec}", "cannot be read as a data set"):
        return datasets.load_dataset(name, config or None, split=split, **how)


def _of_csv_only(folder: Path) -> bool:
    kinds = {file.suffix.lower() for file in folder.rglob("*") if file.is_file()}
    return ".csv" in kinds and not kinds & {*OTHER_LOADERS, *image_suffixes()}


def is_hf_dataset(data: Any) -> bool:
    """Whether it is a `datasets.Dataset`, told without importing the library."""
    return type(data).__module__.startswith("datasets.")


def from_hf_dataset(
    dataset: Any,
    task: Task | None,
    name: str | None,
    sample_column: str | Sequence[str] | None,
    target_columns: str | Sequence[str] | None,
    *,
    progress: bool = True,
) -> TargetData:
    """Takes images or texts with the class names that the data set has.

    Samples come in the format of the data set (`set_format`). Where it has a transform of its own
    (`set_transform`, `with_transform`), samples and targets are those that the transform gives.

    Raises:
        ValueError: Columns are not there, there are several splits, or samples have no labels.
    """
    features = getattr(dataset, "features", None)
    if features is None or not hasattr(type(dataset), "__len__"):  # several splits, or a stream
        raise ValueError(f"data must be one split of a data set, got {type(dataset).__name__}")
    if not len(dataset):
        raise ValueError("data must hold samples, got an empty split")
    title = name or getattr(dataset.info, "dataset_name", None) or "dataset"
    labelled = [c for c, f in features.items() if type(f).__name__ == "ClassLabel"]
    if dataset.format["type"] == "custom":
        first = dataset[0]
        kinds = {column: _kind_of_value(value) for column, value in first.items()}
        columns = choose_columns(kinds, sample_column, target_columns, labelled)
        return _transformed(dataset, columns, task, title, progress)
    kinds = {column: _kind(feature) for column, feature in features.items()}
    columns = choose_columns(kinds, sample_column, target_columns, labelled)
    if columns.words:
        return _of_words(dataset, columns, task, title)
    labels = _labels(dataset, features, columns.targets, task)
    targets, task = as_targets(labels.values, len(dataset), task)
    samples: Any = _Column(dataset, columns.samples[0]) if columns.samples else None
    if len(columns.samples) > 1:
        samples = _PairColumns(*(_Column(dataset, column) for column in columns.samples))
    return TargetData(title, samples, targets, task, labels.class_names, notes=columns.notes)


def _transformed(
    dataset: Any, columns: ChosenColumns, task: Task | None, name: str, progress: bool
) -> TargetData:
    """Samples and targets as the transform of the data set gives them."""
    if not columns.samples or len(columns.targets) > 1 or columns.words:
        raise ValueError(
            "a data set with a transform must have a column of samples and one of targets, got "
            f"{list(columns.samples)} and {list(columns.targets)}"
        )
    (target,) = columns.targets
    feature = dataset.features.get(target)
    names = kept = None
    if hasattr(feature, "names"):
        names = tuple(feature.names)
        kept = dataset.select_columns([target]).with_format(None)[:][target]
    given = _Pairs(dataset, columns.samples, target, kept)
    target_data = from_pairs(given, task, name, names, progress=progress)
    return replace(target_data, notes=(*columns.notes, *target_data.notes))


def _of_words(dataset: Any, columns: ChosenColumns, task: Task | None, title: str) -> TargetData:
    """Every word in the lists of one column, with its tag in those of the other."""
    pair = (columns.samples[0], columns.targets[0])
    table = dataset.select_columns(list(pair)).with_format(None)[:]
    words, names, labels = words_and_tags(table[pair[0]], table[pair[1]], pair, task)
    feature = dataset.features[pair[1]]
    known = getattr(getattr(feature, "feature", feature), "names", None)
    if known is not None:
        if (unlabelled := int((labels.values < 0).sum())) > 0:
            raise ValueError(f"every word must have a tag, {unlabelled} have none (below 0)")
        labels = EncodedTargets(labels.values, tuple(known))
    targets, task = as_targets(labels.values, len(words), task)
    notes = (*columns.notes, words_note(words))
    return TargetData(title, words, targets, task, labels.class_names, names=names, notes=notes)


def _labels(
    dataset: Any, features: Any, columns: Sequence[str], task: Task | None
) -> EncodedTargets:
    table = dataset.select_columns(list(columns)).with_format(None)[:]
    labels = encoded([table[column] for column in columns], columns, task)
    feature = features[columns[0]]
    inner = getattr(feature, "feature", feature)  # a list of labels holds it
    names = getattr(inner, "names", None)
    if names is None or len(columns) > 1:
        return labels
    if labels.values.ndim == 1:
        if (unlabelled := int((labels.values < 0).sum())) > 0:
            raise ValueError(f"every sample must have a label, {unlabelled} have none (-1)")
        return EncodedTargets(labels.values, tuple(names))
    return EncodedTargets(labels.values, tuple(names[int(i)] for i in labels.class_names or ()))


def _kind(feature: Any) -> Kind:
    """What a column holds, by its declared type."""
    kind, dtype = type(feature).__name__, str(getattr(feature, "dtype", ""))
    if kind in ("Image", "Array2D", "Array3D") or (kind == "Value" and "binary" in dtype):
        return "image"
    inner = getattr(feature, "feature", None)
    if inner is not None and getattr(inner, "feature", None) is not None:  # lists of lists
        return "image"
    if inner is not None:
        return "words" if "string" in str(getattr(inner, "dtype", "")) else "tags"
    return "text" if kind == "Value" and "string" in dtype else "other"


def _kind_of_value(value: Any) -> Kind:
    if isinstance(value, str):
        return "text"
    return "image" if isinstance(value, Image.Image) or getattr(value, "ndim", 0) > 1 else "other"


class _Column(Sequence[Any]):
    """One column in the format of the data set, each value decoded when it is asked for.

    `decoding` says how encoded images become values; it is empty where values are not such.
    """

    def __init__(self, dataset: Any, column: str):
        form = dataset.format
        if form["type"] not in FORMATS or column not in form["columns"]:  # or the format omits it
            dataset = dataset.with_format(None)
        self.dataset, self.column = dataset.select_columns([column]), column
        self._encoded = self.dataset.with_format("arrow")
        feature, self.decoding = self.dataset.features[column], ""
        if type(feature).__name__ == "Image" and feature.decode:
            version = require("datasets", "data", "its images").__version__
            self.decoding = f"datasets {version} {self.dataset.format['type']} {feature}"

    def encoded(self, index: int) -> dict[str, Any]:
        """The `bytes` and the `path` of an image, of which one may be None."""
        row = self._encoded[int(index)]
        return dict(row.column(0)[0].as_py())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[int(index)][self.column]


class _PairColumns(Sequence[TextPair]):
    """Two columns of texts, as pairs."""

    def __init__(self, first: _Column, second: _Column):
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: Any) -> Any:
        return checked_pair(self.first[index], self.second[index])


class _Pairs:
    """Rows of a data set with a transform, as pairs (sample, target)."""

    def __init__(self, dataset: Any, samples: Sequence[str], target: str, targets: Any = None):
        self.dataset, self.samples, self.target = dataset, samples, target
        self.targets = targets  # the targets before the transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self.dataset[int(index)]
        given = [row[column] for column in self.samples]
        return given[0] if len(given) == 1 else checked_pair(*given), row[self.target]
