"""From what people have, a folder, a table, arrays, to target data."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from os.path import exists  # which holds a name that no file can have for none
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.data.conll import SUFFIXES as OF_WORDS
from hubfast.data.conll import from_conll
from hubfast.data.folders import from_folder
from hubfast.data.hf_datasets import from_hf_dataset, is_hf_dataset, load_hf_dataset
from hubfast.data.labels import encoded, is_missing
from hubfast.data.pixels import Pixels
from hubfast.data.tables import SUFFIXES as TABLES
from hubfast.data.tables import from_table, images_or_texts, kind_of
from hubfast.data.target import TargetData
from hubfast.data.texts import TextPair, Word, as_text, is_text, words_and_tags, words_note
from hubfast.data.torch_datasets import from_dataset
from hubfast.scores.inputs import Task, as_targets
from hubfast.utils.decoding import decoding
from hubfast.utils.names import shortened

LONGEST = 400  # characters of a path in a message
Columns = tuple[str | Sequence[str] | None, str | Sequence[str] | None]  # of samples, of targets


def as_target_data(
    data: Any,
    *,
    task: Task | None = None,
    name: str | None = None,
    sample_column: str | Sequence[str] | None = None,
    target_columns: str | Sequence[str] | None = None,
    background: str = "white",
    bits: int | None = None,
    progress: bool = True,
) -> TargetData:
    """Makes target data of what people have.

    Args:
        data: A folder with one sub-folder of images for each class; a `.csv`, `.tsv` or
            `.parquet` table with a column of images or texts and columns of targets; a `.conll`,
            `.conllu`, `.iob` or `.bio` file of words and their tags, or `"conll:FILE"`;
            `"hfdata:NAME"` or `"hfdata:FOLDER"` (`NAME:CONFIG@SPLIT`) or a data set of the
            `datasets` library; an `.npz` file with arrays `images` and `targets`; a `.npy` file of
            targets; `"minihub:NAME"`; a torch Dataset of (sample, target); a pair (samples,
            targets) of arrays, of texts and their labels, of pairs of texts and their labels, or of
            lists of words and lists of their tags; targets alone, for stored features;
            or TargetData, which is returned as it is.
        task: `"classification"`, `"multilabel"` or `"regression"`; None to tell from the targets.
        name: The name shown in reports.
        sample_column: The column of samples in a table, or two columns of texts for samples that
            are pairs; None for one with a usual name (image, path, text, tokens, ...).
        target_columns: One or several columns of targets in a table; None for one with a usual
            name (label, ...).
        background: Colour behind transparent pixels, as Pillow names it.
        bits: Bits of a 16-bit grey value that the images use, such as 12; None for all 16.
        progress: Show a bar where all samples of a torch Dataset must be read for their targets.

    Raises:
        ValueError, TypeError, FileNotFoundError: `data` is none of these; the message says why.
    """
    if isinstance(data, TargetData):
        return data
    pixels = Pixels(background, bits)
    columns = (sample_column, target_columns)
    return replace(_found(data, task, name, columns, progress), pixels=pixels)


def _found(
    data: Any,
    task: Task | None,
    name: str | None,
    columns: Columns,
    progress: bool,
) -> TargetData:
    match data:
        case str() if not data:
            raise ValueError("data must be a path or a name, got an empty string")
        case str() if data.startswith("minihub:"):
            return _minihub(data.removeprefix("minihub:"))
        case str() if data.startswith("hfdata:"):
            spec = data.removeprefix("hfdata:")
            title = name or Path(spec).name
            return from_hf_dataset(load_hf_dataset(spec), task, title, *columns, progress=progress)
        case str() if data.startswith("conll:"):
            return _words_of_file(Path(data.removeprefix("conll:")), task, name, columns)
        case str() | Path():
            return _from_path(Path(data), task, name, columns)
        case _ if is_hf_dataset(data):
            return from_hf_dataset(data, task, name, *columns, progress=progress)
        case (samples, targets):
            return _from_arrays(samples, targets, task, name or "arrays")
        case torch.utils.data.Dataset():
            return from_dataset(data, task, name, progress=progress)
        case Tensor() | np.ndarray():
            return _from_arrays(None, data, task, name or "targets")
    raise TypeError(
        "data must be a path, hfdata:NAME, a torch Dataset, (samples, targets), targets or "
        f"TargetData, got {type(data).__name__}"
    )


def _from_arrays(samples: Any, targets: Any, task: Task | None, name: str) -> TargetData:
    given = None if samples is None else _by_position(samples, "samples")
    targets = _by_position(targets, "targets")
    count = len(targets if given is None else given)
    if given is not None and _are_lists_of_words(given, targets):
        words, called, labels = words_and_tags(given, targets, ("samples", "targets"), task)
        values, task = as_targets(labels.values, len(words), task)
        notes = (words_note(words),)
        return TargetData(name, words, values, task, labels.class_names, names=called, notes=notes)
    names = sample_names = None
    if _need_encoding(targets):
        targets, names = encoded([targets], ["targets"], task)
    values, task = as_targets(targets, count, task)
    if isinstance(given, list) and given and all(isinstance(x, str | Path) for x in given):
        texts = [str(x) for x in given]
        kind = "image" if isinstance(given[0], Path) else kind_of(texts, "samples", Path())
        given, sample_names = images_or_texts(texts, kind, Path())
    elif isinstance(given, list | tuple) and given and all(is_text(as_text(x)) for x in given):
        given = [as_text(x) for x in given]
    return TargetData(name, given, values, task, names, names=sample_names)


def _are_lists_of_words(samples: Any, targets: Any) -> bool:
    """Whether each sample is a list of words, and each target a list of their tags."""
    if not isinstance(samples, list) or not isinstance(targets, list):
        return False
    lists = all(isinstance(x, list | tuple) and not isinstance(x, TextPair | Word) for x in samples)
    words = lists and all(isinstance(word, str) for sentence in samples for word in sentence)
    if not (words and samples and all(isinstance(x, list | tuple) for x in targets)):
        return False
    fits = [len(sentence) for sentence in samples] == [len(tags) for tags in targets]
    return fits or any(len(sentence) != 2 for sentence in samples)  # else pairs with some labels


def _by_position(values: Any, what: str) -> Any:
    """Values that an integer reaches by position: a Series has an index of its own.

    Raises:
        TypeError: They have no order, no length, or are a word or a table.
        ValueError: There is one value only, or some are masked.
    """
    as_list = getattr(values, "to_list", None)
    values = values if as_list is None else as_list()
    if getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{what} must have an entry for each sample, got the one {values}")
    table = what == "samples" and hasattr(values, "iloc")
    if table or isinstance(values, str | bytes | Mapping | Set) or not _is_sized(values):
        kind = type(values).__name__
        raise TypeError(f"{what} must be an array, a list or another sequence, got {kind}")
    if np.ma.is_masked(values):
        raise ValueError(f"{what} must be there for each sample, got an array with masked values")
    plain = isinstance(values, Sequence) and what == "targets"
    return list(values) if plain else values  # a deque cannot be sliced


def _is_sized(values: Any) -> bool:
    return hasattr(type(values), "__len__") and hasattr(type(values), "__getitem__")


def _need_encoding(targets: Any) -> bool:
    """Whether targets are words or lack some, and so are no array of numbers yet."""
    if isinstance(targets, Tensor):
        return False
    lacks = isinstance(targets, list) and any(map(is_missing, targets))
    return lacks or np.asarray(targets[:1]).dtype.kind in "USO"


def _from_path(
    path: Path,
    task: Task | None,
    name: str | None,
    columns: Columns,
) -> TargetData:
    suffix = path.suffix.lower()
    if not exists(path):
        raise FileNotFoundError(f"data not found: {shortened([str(path)], LONGEST)[0]}")
    if path.is_dir():
        return from_folder(path, task, name)
    if suffix in TABLES:
        return from_table(path, task, name, *columns)
    if suffix in OF_WORDS:
        return _words_of_file(path, task, name, columns)
    if suffix == ".npy":
        found = _arrays(path)
        if isinstance(found, dict):
            raise ValueError(f"{path} must hold one array, got those of an .npz: {sorted(found)}")
        return _from_arrays(None, found, task, name or path.stem)
    if suffix != ".npz":
        raise ValueError(f"data must be a folder, an .npz or a .npy file or {TABLES}, got {path}")
    arrays = _arrays(path)
    if "targets" not in arrays:
        raise ValueError(f"{path} must hold 'targets', got {sorted(arrays)}")
    data = _from_arrays(arrays.get("images"), arrays["targets"], task, name or path.stem)
    if "images" in arrays or len(arrays) == 1:
        return data
    note = f"{path.name} holds no 'images' but {sorted(arrays)}: its targets are taken alone"
    return replace(data, notes=(note,))


def _words_of_file(path: Path, task: Task | None, name: str | None, columns: Columns) -> TargetData:
    one = []
    for what, given in zip(("sample_column", "target_columns"), columns, strict=True):
        listed = [given] if isinstance(given, str) else list(given or ())
        if len(listed) > 1:
            raise ValueError(f"{what} of a file of words must be one column, got {listed}")
        one.append(listed[0] if listed else None)
    if not exists(path):
        raise FileNotFoundError(f"data not found: {shortened([str(path)], LONGEST)[0]}")
    return from_conll(path, task, name, *one)


def _arrays(path: Path) -> Any:
    """What an `.npz` or `.npy` file holds.

    Raises:
        ValueError: The file cannot be read, or holds Python objects.
    """
    fault = "cannot be read as arrays of numbers or of words (dtype str)"
    with decoding(path, fault), path.open("rb") as file:  # NumPy itself leaves a broken file open
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        arrays = dict(found)
        if others := [name for name, x in arrays.items() if not isinstance(x, np.ndarray)]:
            raise ValueError(f"{others[0]!r} in it is no array")  # but the bytes of another file
        return arrays


def _minihub(name: str) -> TargetData:
    from hubfast.minihub import load_target

    target = load_target(name)
    values, task = as_targets(target.targets, len(target.images))
    images = list(target.images)
    return TargetData(f"minihub:{name}", images, values, task, target.class_names)
