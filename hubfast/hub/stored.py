"""Features that were computed elsewhere: .npy, .npz, .safetensors and .parquet files."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from hubfast.data import TargetData
from hubfast.hub.model import Batch, Extraction, SampleSequence
from hubfast.hub.numbers import as_floats
from hubfast.hub.parquet import read_parquet
from hubfast.utils.decoding import decoding
from hubfast.utils.stopwatch import Stopwatch

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")
ARRAYS = "must hold arrays of numbers and cannot be read"

Arrays = dict[str, np.ndarray | Tensor]


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Row i holds the features of sample i of the full target data.

    Args:
        path: The file, for messages.
        features: `(N, D)`, numbers of any type.
        logits: Logits of the source classes, `(N, Cs)`, or None.
        notes: What the user should know of how they are used.
    """

    path: Path
    features: np.ndarray | Tensor
    logits: np.ndarray | Tensor | None = None
    parameters: int | None = None
    imagenet: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def reads_samples(self) -> bool:
        """No: they are stored for all of them."""
        return False

    def check_count(self, count: int) -> None:
        """Refuses features of other data.

        Args:
            count: Samples of the full data set.

        Raises:
            ValueError: There is not a row for each of them.
        """
        if len(self.features) != count:
            raise ValueError(
                f"{self.path} must have a row for each of {count} samples, got {len(self.features)}"
            )

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields the stored features of all of `data`, in order.

        Raises:
            ValueError: A sample has no row, or the full data set is of another length.
        """
        rows = data.rows()
        if not len(rows):
            return
        if isinstance(data, TargetData) and data.positions is None:
            self.check_count(len(data))
        if int(rows.max()) >= len(self.features):
            raise ValueError(
                f"{self.path} has {len(self.features)} rows, sample {int(rows.max())} is asked for"
            )
        size = min(max(options.batch_size, 1024), len(rows))
        for index in torch.arange(len(rows), device="cpu").split(size):
            started = time.perf_counter()
            features = _take(self.features, rows[index], "features").to(options.device)
            logits = None if self.logits is None else _take(self.logits, rows[index], "logits")
            yield Batch(
                index, features, logits, time.perf_counter() - started, Stopwatch(options.device)
            )


def read(path: str | Path) -> StoredFeatures:
    """Opens a file of features.

    .npy: the (N, D) array, read from disk as needed. .npz, .safetensors: `features` or the only
    array beside `logits`, and `logits` (N, Cs) for scores that need them. .parquet: columns
    `features` and `logits` of lists, or number columns only, which are the features. Numbers of
    any type and byte order. Tokens (N, tokens, D) and maps (N, D, H, W) are averaged.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else; the message lists what it holds.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"features not found: {path}")
    match path.suffix:
        case ".npy":
            arrays: Arrays = {"features": _of_numpy(path)}
        case ".npz":
            arrays = _of_numpy(path)
        case ".safetensors":
            arrays = _of_safetensors(path)
        case ".parquet":
            arrays = read_parquet(path)
        case _:
            raise ValueError(f"features must be in one of {SUFFIXES}, got {path}")
    features, logits = arrays.pop("features", None), arrays.pop("logits", None)
    if features is None:
        (features,) = arrays.values()
    for name, array in (("features", features), ("logits", logits)):
        if array is not None:
            if array.ndim:
                _check_numbers(array, f"{name} in {path}")
            if array.ndim < 2 or (array.ndim != 2 and name == "logits"):
                raise ValueError(f"{name} in {path} must be (N, D), got {tuple(array.shape)}")
    notes = () if features.ndim == 2 else (_averages(features.shape, path),)
    return StoredFeatures(path, features, logits, notes=notes)


def _of_numpy(path: Path) -> Any:
    """The array of a .npy file, or the wanted arrays of an .npz file by name."""
    with decoding(path, ARRAYS):
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped and not is_zipfile(path):
            raise ValueError("it is cut off")
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        names = _wanted(path, dict.fromkeys(found.files))
        with decoding(path, ARRAYS):
            arrays = {name: found[name] for name in names}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):  # NumPy gives the bytes of another file
                    raise ValueError(f"{name!r} in it is no array")
            return arrays


def _of_safetensors(path: Path) -> Arrays:
    with decoding(path, ARRAYS):
        opened = safe_open(path, "pt")
    with opened as file:
        names = _wanted(path, _shapes(file))
        with decoding(path, ARRAYS):
            return {name: file.get_tensor(name) for name in names}


def _check_numbers(array: np.ndarray | Tensor, what: str) -> None:
    try:
        as_floats(array[:0], what)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _shapes(file: Any) -> dict[str, tuple[int, ...] | None]:
    return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _wanted(path: Path, held: Mapping[str, tuple[int, ...] | None]) -> list[str]:
    """Names of the features and maybe the logits among the arrays that a file holds."""
    others = [name for name in held if name != "logits"]
    if "features" not in held and len(others) != 1:
        told = [name if shape is None else f"{name} {shape}" for name, shape in held.items()]
        listed = ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")
        advice = ""
        if path.suffix == ".safetensors" and any(name.endswith(".weight") for name in held):
            advice = f"; if these are a model's weights: timm:NAME@{path}"
        raise ValueError(f"{path} must hold 'features', got {listed or 'no array'}{advice}")
    features = "features" if "features" in held else others[0]
    return [features, *(["logits"] if "logits" in held else [])]


def _averages(shape: Sequence[int], path: Path) -> str:
    """Says which axes of tokens or maps are averaged.

    Raises:
        ValueError: It cannot be told which axis has the features.
    """
    axis = _feature_axis(shape)
    if axis is None:
        raise ValueError(
            f"features in {path} must be (N, D), (N, tokens, D) or (N, D, H, W), got "
            f"{tuple(shape)}: which axis holds the features cannot be told; average the others"
        )
    places = "tokens" if len(shape) == 3 else "places"
    return f"features {tuple(shape)} are averaged over {places} to D = {shape[axis]}"


def _feature_axis(shape: Sequence[int]) -> int | None:
    """1 or the last: that which is unlike the others of a map; the last of tokens."""
    if len(shape) <= 3:
        return len(shape) - 1
    first, last = shape[2:], shape[1:-1]
    alike = len({*first}) == 1, len({*last}) == 1
    return 1 if alike == (True, False) else len(shape) - 1 if alike == (False, True) else None


def _take(array: np.ndarray | Tensor, rows: Tensor, what: str) -> Tensor:
    part = as_floats(array[rows] if isinstance(array, Tensor) else array[rows.numpy()], what)
    axis = _feature_axis(part.shape)
    if part.ndim == 2 or axis is None:
        return part
    return part.movedim(axis, -1).flatten(1, -2).mean(1)
