"""Label columns as people write them, words, lists, numbers, as arrays that pose a task."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hubfast.scores.inputs import Task

SEPARATORS = re.compile(r"\s*[;|,]\s*")


class Labels(NamedTuple):
    """Numbers that `as_targets` takes, and what the classes are called."""

    values: np.ndarray  # (n,) or (n, C)
    class_names: tuple[str, ...] | None = None


def encoded(columns: Sequence[Sequence[Any]], names: Sequence[str], task: Task | None) -> Labels:
    """One label column, or several.

    - One of words: classes; for `task="multilabel"` each is split at `;`, `|` or `,`.
    - One of lists: several labels of each sample, or several numbers for regression.
    - One of numbers, and several columns of numbers: as they are.

    Args:
        columns: Values of each column, all of length n.
        names: Of the columns; class names where there are several.
        task: What the labels pose, None to tell from them.

    Raises:
        ValueError: A label is missing, or the columns mix kinds.
    """
    arrays = [_complete(column, name) for column, name in zip(columns, names, strict=True)]
    if len(arrays) > 1:
        if any(array.dtype.kind not in "biuf" for array in arrays):
            raise ValueError(f"several target columns must hold numbers, got words in {names}")
        return Labels(np.stack(arrays, 1), tuple(names))
    array = arrays[0]
    if array.dtype.kind in "biuf":
        return Labels(array)
    if task == "multilabel" and isinstance(array[0], str):
        lists = [[word for word in SEPARATORS.split(text) if word] for text in array]
        return _several_of_each(lists)
    if isinstance(array[0], list | tuple | np.ndarray):
        return _of_lists(array, task)
    classes, values = np.unique(array.astype(str), return_inverse=True)
    return Labels(values, tuple(classes.tolist()))


def _of_lists(rows: np.ndarray, task: Task | None) -> Labels:
    lists = [list(row) for row in rows]
    numbers = all(isinstance(x, float | np.floating) for row in lists for x in row)
    if task == "regression" or (task is None and numbers):
        return Labels(np.array(lists, dtype=float))
    return _several_of_each(lists)


def _several_of_each(lists: Sequence[Sequence[Any]]) -> Labels:
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer()
    values = binarizer.fit_transform(lists)
    return Labels(values, tuple(map(str, binarizer.classes_)))


def _complete(column: Sequence[Any], name: str) -> np.ndarray:
    """The column as an array of numbers, or of objects; none of them missing."""
    missing = [i for i, x in enumerate(column) if x is None or (np.isscalar(x) and x != x)]
    if missing:
        raise ValueError(f"every sample must have a {name!r}, missing in rows {missing[:5]}")
    if not any(isinstance(x, str | list | tuple | np.ndarray) for x in column):
        return np.asarray(column)
    array = np.empty(len(column), dtype=object)  # NumPy would make a table of lists
    array[:] = list(column)
    return array
