"""Label columns as people write them, words, lists, numbers, as arrays that pose a task."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from hubfast.scores.inputs import Task
from hubfast.utils.moved import moved
from hubfast.utils.names import brief

SEPARATORS = re.compile(r"\s*[;|,]\s*")
NAMED = 5  # rows in a message; more are counted


class EncodedTargets(NamedTuple):
    """Targets as numbers, as `as_targets` takes them, and the names of the classes."""

    values: np.ndarray  # (n,) or (n, C)
    class_names: tuple[str, ...] | None = None


def encoded(
    columns: Sequence[Sequence[Any]],
    names: Sequence[str],
    task: Task | None,
    rows: Sequence[int] | None = None,
) -> EncodedTargets:
    """Encodes one label column, or several.

    - One of words: classes; for `task="multilabel"` each is split at `;`, `|` or `,`.
    - One of lists: several labels of each sample, or several numbers for regression.
    - One of numbers, and several columns of numbers: as they are.

    Args:
        columns: Values of each column, all of length n.
        names: Names of the columns; they are the class names where there are several.
        task: The task that the labels pose; None to tell it from them.
        rows: What people call each row; None for 0, 1, ...

    Raises:
        ValueError: A label is missing, or the columns mix kinds.
    """
    arrays = [_complete(column, name, rows) for column, name in zip(columns, names, strict=True)]
    if len(arrays) > 1:
        if any(array.dtype.kind not in "biuf" for array in arrays):
            raise ValueError(f"several target columns must hold numbers, got words in {names}")
        return EncodedTargets(np.stack(arrays, 1), tuple(names))
    array = arrays[0]
    if array.dtype.kind in "biuf":
        return EncodedTargets(array)
    if task == "multilabel" and isinstance(array[0], str):
        lists = [[word for word in SEPARATORS.split(text) if word] for text in array]
        return _several_of_each(lists)
    if isinstance(array[0], list | tuple | np.ndarray):
        for row in array:
            _check_plain(row, names[0])
        _check_alike([value for row in array for value in row], names[0])
        return _of_lists(array, task)
    _check_plain(array, names[0])
    _check_named(array, names[0])
    texts = [str(value) for value in array]
    alike = [value for value in {*array} if str(value) in {*array} and not isinstance(value, str)]
    if alike:  # 7 and "7" would become one class
        raise ValueError(f"{names[0]!r} must hold words or numbers, got {alike[0]!r} as both")
    classes, values = np.unique(texts, return_inverse=True)
    return EncodedTargets(values, tuple(classes.tolist()))


def _check_plain(values: Any, name: str) -> None:
    """Refuses what is no label.

    Raises:
        ValueError: A value is a list, a table or bytes.
    """
    if not isinstance(values, list | tuple | np.ndarray):
        raise ValueError(f"{name!r} must hold lists in every row, got {brief(values)}")
    for value in values:
        if isinstance(value, list | tuple | np.ndarray | Mapping | set):
            raise ValueError(
                f"{name!r} must hold words, numbers or lists of them, got {brief(value)}"
            )


def _check_alike(values: Sequence[Any], name: str) -> None:
    """Refuses lists that hold nothing in some place, or words beside numbers.

    Raises:
        ValueError: They do.
    """
    if any(map(is_missing, values)):
        raise ValueError(f"{name!r} must hold words or numbers in its lists, got a missing value")
    words = [value for value in values if isinstance(value, str)]
    others = [value for value in values if not isinstance(value, str)]
    if words and others:
        both = f"{brief(words[0])} and {brief(others[0])}"
        raise ValueError(f"{name!r} must hold words or numbers in its lists, got {both}")


def _check_named(values: Any, name: str) -> None:
    """Refuses objects that only their place in memory names: each would be a class of its own.

    Raises:
        TypeError: There is one.
    """
    for value in values:
        kind = type(value)
        if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
            raise TypeError(f"{name!r} must hold words or numbers, got {kind.__name__} objects")


def is_missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | Decimal) and bool(value != value)


def missing_rows(missing: Sequence[int], count: int, rows: Sequence[int] | None) -> str:
    """How many values are missing, and in which rows."""
    named = [i if rows is None else rows[i] for i in missing[:NAMED]]
    more = f" and {len(missing) - NAMED} more" * (len(missing) > NAMED)
    return f"missing in {len(missing)} of {count} rows: {named}{more}"


def _of_lists(rows: np.ndarray, task: Task | None) -> EncodedTargets:
    lists = [list(row) for row in rows]
    numbers = all(isinstance(x, float | np.floating) for row in lists for x in row)
    if task == "regression" or (task is None and numbers):
        lengths = sorted({len(row) for row in lists})
        if len(lengths) > 1:
            raise ValueError(f"lists of numbers must be of one length, got {brief(lengths)}")
        return EncodedTargets(np.array(lists, dtype=float))
    return _several_of_each(lists)


def _several_of_each(lists: Sequence[Sequence[Any]]) -> EncodedTargets:
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer()
    values = binarizer.fit_transform(lists)
    return EncodedTargets(values, tuple(map(str, binarizer.classes_)))


def _complete(column: Sequence[Any], name: str, rows: Sequence[int] | None) -> np.ndarray:
    """The column as an array of numbers, or of objects; none of them missing."""
    values = list(column)
    missing = [i for i, x in enumerate(values) if is_missing(x)]
    if missing:
        raise ValueError(
            f"every sample must have a {name!r}, {missing_rows(missing, len(values), rows)}"
        )
    if any(isinstance(x, Decimal) for x in values):
        values = [float(x) for x in values]
    if not any(isinstance(x, str | list | tuple | np.ndarray) for x in values):
        return np.asarray(values)
    array = np.empty(len(values), dtype=object)  # NumPy would make a table of lists
    array[:] = values
    return array


__getattr__ = moved(__name__, {"Labels": "hubfast.data.labels.EncodedTargets"})
