"""Features that were computed elsewhere: .npy, .npz, .safetensors and .parquet files."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from hubfast.data import TargetData
from hubfast.hub.model import Batch, Extraction
from hubfast.optional import require

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Row i holds the features of sample i of the full target data."""

    path: Path
    features: np.ndarray | Tensor  # (N, D)
    logits: np.ndarray | Tensor | None = None  # (N, Cs)
    parameters: int | None = None
    imagenet: float | None = None

    def batches(self, data: TargetData, how: Extraction) -> Iterator[Batch]:
        rows = data.rows()
        if data.positions is None and len(self.features) != len(data):
            raise ValueError(
                f"{self.path} must have a row for each of {len(data)} samples, "
                f"got {len(self.features)}"
            )
        if int(rows.max()) >= len(self.features):
            raise ValueError(
                f"{self.path} has {len(self.features)} rows, sample {int(rows.max())} is asked for"
            )
        for index in torch.arange(len(rows), device="cpu").split(max(how.batch_size, 1024)):
            started = time.perf_counter()
            features = _take(self.features, rows[index]).to(how.device)
            logits = None if self.logits is None else _take(self.logits, rows[index])
            yield Batch(index, features, logits, time.perf_counter() - started, 0.0)


def read(path: str | Path) -> StoredFeatures:
    """Opens a file of features.

    .npy: the (N, D) array, read from disk as needed. .npz, .safetensors: `features`, and
    `logits` (N, Cs) for scores that need them. .parquet: columns `features` and `logits` of lists,
    or number columns only, which are the features.

    Raises:
        FileNotFoundError, ValueError: No such file, or not such content.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"features not found: {path}")
    match path.suffix:
        case ".npy":
            arrays: dict = {"features": np.load(path, mmap_mode="r", allow_pickle=False)}
        case ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file if name in ("features", "logits")}
        case ".safetensors":
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if name in ("features", "logits")]  # noqa: SIM118
                arrays = {name: file.get_tensor(name) for name in names}
        case ".parquet":
            arrays = _from_parquet(path)
        case _:
            raise ValueError(f"features must be in one of {SUFFIXES}, got {path}")
    if "features" not in arrays:
        raise ValueError(f"{path} must hold 'features', got {sorted(arrays)}")
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(f"{name} in {path} must be (N, D), got {tuple(array.shape)}")
    return StoredFeatures(path, arrays["features"], arrays.get("logits"))


def _from_parquet(path: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    require("pyarrow", "data", str(path))
    frame = pd.read_parquet(path)
    lists = [name for name in ("features", "logits") if name in frame]
    if lists:
        return {name: np.stack(frame[name].to_list()) for name in lists}
    if other := [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]:
        raise ValueError(f"{path} must hold 'features' or numbers only, got columns {other}")
    return {"features": frame.to_numpy()}


def _take(array: np.ndarray | Tensor, rows: Tensor) -> Tensor:
    if isinstance(array, Tensor):
        return array[rows]
    return torch.from_numpy(np.asarray(array[rows.numpy()]))
