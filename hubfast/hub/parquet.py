"""Features in Parquet files: a column of lists, or one column of numbers for each feature."""

from pathlib import Path
from typing import Any

import numpy as np

from hubfast.utils.decoding import decoding
from hubfast.utils.extras import require


def read_parquet(path: Path) -> dict[str, Any]:
    """Reads `features` and maybe `logits`, one row for each row of the file.

    Columns of these names hold lists. Without `features`, the only column of lists is taken, or
    all columns where all are numbers.

    Raises:
        ValueError: The file has other columns, lists of different lengths, or rows without a list.
    """
    pandas = require("pandas", "data", str(path))
    require("pyarrow", "data", str(path))
    with decoding(path):
        frame = pandas.read_parquet(path)
    numeric = {name for name in frame if pandas.api.types.is_numeric_dtype(frame[name])}
    lists = [name for name in frame if name != "logits" and _holds_lists(frame[name])]
    if "features" in frame:
        features = "features"
    elif len(lists) == 1:
        features = lists[0]
    elif len(numeric) == len(frame.columns):
        return {"features": frame.to_numpy(dtype=np.float64, na_value=np.nan)}
    else:
        other = [str(name) for name in frame if name not in numeric]
        raise ValueError(f"{path} must hold 'features' or numbers only, got columns {other}")
    arrays = {"features": _stacked(frame[features], f"{features} in {path}")}
    if "logits" in frame:
        arrays["logits"] = _stacked(frame["logits"], f"logits in {path}")
    return arrays


def _holds_lists(column: Any) -> bool:
    return column.dtype == object and all(isinstance(x, np.ndarray | list) for x in column)


def _stacked(column: Any, what: str) -> np.ndarray:
    rows = [None if x is None else _array(x) for x in column]
    if empty := [i for i, row in enumerate(rows) if row is None or row.ndim == 0]:
        raise ValueError(
            f"{what} must be lists of numbers, got {column.iloc[empty[0]]!r} in row "
            f"{empty[0]} ({len(empty)} such rows)"
        )
    shapes = {row.shape: i for i, row in reversed(list(enumerate(rows))) if row is not None}
    if len(shapes) > 1:
        told = ", ".join(f"{shape} in row {i}" for shape, i in list(shapes.items())[:2])
        raise ValueError(f"{what} must be lists of one length, got {told}")
    return np.stack(rows)  # type: ignore[arg-type]


def _array(value: Any) -> np.ndarray:
    """One array; lists of lists come as arrays of arrays."""
    array = np.asarray(value)
    return np.stack([_array(x) for x in array]) if array.dtype == object and array.ndim else array
