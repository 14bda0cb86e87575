"""CSV and Parquet tables: a column of image paths or texts, and columns of targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubfast.data.columns import choose_columns
from hubfast.data.images import SUFFIXES as IMAGE_SUFFIXES
from hubfast.data.images import ImageFiles
from hubfast.data.labels import encoded
from hubfast.data.target import TargetData
from hubfast.optional import require
from hubfast.scores.inputs import Task, as_targets

SUFFIXES = (".csv", ".tsv", ".parquet")


def from_table(
    path: Path,
    task: Task | None,
    name: str | None,
    sample_column: str | None,
    target_columns: str | Sequence[str] | None,
) -> TargetData:
    """A row a sample; relative image paths are taken from the table's own folder.

    Raises:
        ValueError: Columns that are not there, rows without a sample or a target.
    """
    frame = _read(path)
    columns = choose_columns(list(frame.columns), sample_column, target_columns)
    values = [frame[column].tolist() for column in columns.targets]
    labels = encoded(values, columns.targets, task)
    targets, task = as_targets(labels.values, len(frame), task)
    samples: Any = None
    names = None
    if columns.sample is not None:
        texts = _texts(frame[columns.sample], columns.sample, path)
        samples = texts
        if all(Path(text).suffix.lower() in IMAGE_SUFFIXES for text in texts):
            names = [str(path.parent / text) for text in texts]
            samples = ImageFiles(names)
    title = name or path.stem
    return TargetData(title, samples, targets, task, labels.class_names, names=names)


def _read(path: Path) -> Any:
    import pandas as pd

    if path.suffix == ".parquet":
        require("pyarrow", "data", str(path))
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    if frame.empty:
        raise ValueError(f"{path} must hold samples, got none")
    return frame


def _texts(column: Any, name: str, path: Path) -> list[str]:
    texts = column.tolist()
    wrong = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if wrong:
        raise ValueError(f"{name!r} of {path} must hold paths or texts, not so in rows {wrong[:5]}")
    return texts
