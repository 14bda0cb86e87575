"""CSV and Parquet tables: a column of images or texts, and columns of targets."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hubfast.data.cells import is_number, typed
from hubfast.data.columns import IMAGES, ChosenColumns, Kind, choose_columns
from hubfast.data.delimited import Delimited, read_delimited
from hubfast.data.images import ImageFiles, image_suffixes
from hubfast.data.labels import encoded, is_missing, missing_rows
from hubfast.data.target import TargetData
from hubfast.data.texts import pairs_of, words_and_tags, words_note
from hubfast.scores.inputs import Task, as_targets
from hubfast.utils.decoding import decoding
from hubfast.utils.extras import require

SUFFIXES = (".csv", ".tsv", ".parquet")
LOOKED_AT = 1000  # values that tell what a column holds
ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def from_table(
    path: Path,
    task: Task | None,
    name: str | None,
    sample_column: str | Sequence[str] | None,
    target_columns: str | Sequence[str] | None,
) -> TargetData:
    """Reads a table of one row per sample; relative image paths begin at its own folder.

    Raises:
        ValueError: A column is not there, or a row has no sample or no target.
    """
    table = _Parquet(path) if path.suffix.lower() == ".parquet" else _Text(path)
    kinds = {column: kind_of(table.head(column), column, path.parent) for column in table.names}
    columns = choose_columns(kinds, sample_column, target_columns)
    for column in [*columns.targets, *columns.samples]:
        if table.names.count(column) > 1:
            raise ValueError(f"{path} has {table.names.count(column)} columns {column!r}")
    if columns.words:
        return _of_words(table, columns, task, name or path.stem)
    values = [table.targets(column, task) for column in columns.targets]
    labels = encoded(values, columns.targets, task, table.rows)
    targets, task = as_targets(labels.values, len(table.rows), task)
    samples: Any = None
    names = None
    if columns.samples:
        given = [_complete(table.values(c), c, path, table.rows) for c in columns.samples]
        if len(given) == 1:
            samples, names = images_or_texts(given[0], kinds[columns.samples[0]], path.parent)
        else:
            samples = pairs_of(*given)
    notes = (*table.notes, *columns.notes)
    title = name or path.stem
    return TargetData(title, samples, targets, task, labels.class_names, None, names, notes)


def _of_words(
    table: "_Text | _Parquet", columns: ChosenColumns, task: Task | None, title: str
) -> TargetData:
    """Every word in the lists of one column, with its tag in those of the other."""
    pair = (columns.samples[0], columns.targets[0])
    sentences, tags = (table.values(column) for column in pair)
    words, names, labels = words_and_tags(sentences, tags, pair, task, table.rows)
    targets, task = as_targets(labels.values, len(words), task)
    notes = (*table.notes, *columns.notes, words_note(words))
    return TargetData(title, words, targets, task, labels.class_names, names=names, notes=notes)


def kind_of(values: Sequence[Any], name: str, folder: Path) -> Kind:
    """Tells what a column holds, by some of its values.

    Most values of a column of images have the suffix of one, or are bytes, or bytes with a path.
    Under a usual name for paths those without a suffix count that are there.
    """
    there = [value for value in values if not is_missing(value)]
    texts = [value for value in there if isinstance(value, str) and value.strip()]
    encoded_images = [v for v in there if isinstance(v, bytes) or _is_encoded(v)]
    if len(encoded_images) * 2 > len(there):
        return "image"
    lists = [value for value in there if isinstance(value, list) and value]
    if len(lists) * 2 > len(there) and isinstance(lists[0][0], list):  # lists of pixels
        return "image"
    if len(lists) * 2 > len(there):
        return "words" if isinstance(lists[0][0], str) else "tags"
    suffixed = sum(Path(text).suffix.lower() in image_suffixes() for text in texts)
    if texts and suffixed * 2 > len(texts):
        return "image"
    if name.lower() in IMAGES and texts and all((folder / text).is_file() for text in texts[:10]):
        return "image"
    return "text" if any(not is_number(text.strip()) for text in texts) else "other"


def images_or_texts(
    given: Sequence[Any], kind: Kind, folder: Path
) -> tuple[Sequence[Any], list[str] | None]:
    """Gives samples of a column's values, and what they are called.

    Raises:
        ValueError: The images are web addresses.
    """
    if kind != "image":
        return given, None
    paths = [value.get("path") if isinstance(value, Mapping) else value for value in given]
    addresses = [p for p in paths if isinstance(p, str) and ADDRESS.match(p)]
    if addresses:
        raise ValueError(
            f"images must be files, {len(addresses)} of {len(paths)} are addresses such as "
            f"{addresses[0]}; download them first"
        )
    if all(isinstance(value, str) for value in given):
        files = [_file(text, folder) for text in given]
        return ImageFiles(files), files
    if all(isinstance(value, list) for value in given):  # lists of pixels
        return given, None
    named = [str(p) if isinstance(p, str) else f"sample {i}" for i, p in enumerate(paths)]
    return ImageFiles(given, folder), named


def _file(text: str, folder: Path) -> str:
    """The path of an image, which a table of Windows writes with backslashes."""
    path = folder / text.strip()
    if "\\" in text and os.sep == "/" and not path.exists():
        path = folder / text.strip().replace("\\", "/")
    return str(path)


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Mapping) and bool({"bytes", "path"} & {*value})


def _complete(values: list[Any], name: str, path: Path, rows: Sequence[int]) -> list[Any]:
    blank = [isinstance(value, str) and not value.strip() for value in values]
    lacking = [i for i, value in enumerate(values) if blank[i] or is_missing(value)]
    if lacking:
        raise ValueError(
            f"{name!r} of {path} must hold paths or texts, "
            f"{missing_rows(lacking, len(values), rows)}"
        )
    kinds = (str, bytes, list, Mapping)
    odd = [i for i, value in enumerate(values) if not isinstance(value, kinds)]
    if odd:
        raise ValueError(
            f"{name!r} of {path} must hold paths or texts, got {type(values[odd[0]]).__name__} in "
            f"row {rows[odd[0]]}"
        )
    return values


class _Text:
    """A `.csv` or `.tsv` file; its rows are counted as spreadsheets do, the header is row 1."""

    def __init__(self, path: Path):
        self._table: Delimited = read_delimited(path)
        self.names, self.rows = self._table.names, self._table.rows
        self.notes = list(self._table.notes)

    def head(self, column: str) -> list[Any]:
        at = self.names.index(column)
        return [cells[at] for cells in islice(self._table.records, LOOKED_AT)]

    def values(self, column: str) -> list[Any]:
        at = self.names.index(column)
        return [cells[at] for cells in self._table.records]

    def targets(self, column: str, task: Task | None) -> list[Any]:
        found = typed(self.values(column), column, task, self.rows, self._table.separator)
        self.notes += found.notes
        return found.values


class _Parquet:
    """A `.parquet` file; its rows are counted from 0, as pandas does."""

    def __init__(self, path: Path):
        parquet = require("pyarrow.parquet", "data", str(path))
        self._path = path
        with decoding(path, "cannot be read as Parquet"):
            self._file = parquet.ParquetFile(path)
        names = self._file.schema_arrow.names
        self.names = [name for name in names if not name.startswith("__index_level_")]
        self.rows = range(self._file.metadata.num_rows)
        self.notes: list[str] = []
        if not self.rows:
            raise ValueError(f"{path} must hold samples, got none")

    def head(self, column: str) -> list[Any]:
        with decoding(self._path, "cannot be read as Parquet"):
            batch = next(self._file.iter_batches(LOOKED_AT, columns=[column]))
            return batch.column(0).to_pylist()

    def values(self, column: str) -> list[Any]:
        with decoding(self._path, "cannot be read as Parquet"):
            return self._file.read(columns=[column]).column(0).to_pylist()

    def targets(self, column: str, task: Task | None) -> list[Any]:
        return self.values(column)
