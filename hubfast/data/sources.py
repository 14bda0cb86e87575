"""From what people have, a folder, a table, arrays, to target data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.data.hf_datasets import from_hf_dataset, is_hf_dataset, load_hf_dataset
from hubfast.data.images import ImageFiles
from hubfast.data.labels import encoded
from hubfast.data.tables import SUFFIXES as TABLES
from hubfast.data.tables import from_table
from hubfast.data.target import TargetData
from hubfast.scores.inputs import Task, as_targets


def as_target_data(
    data: Any,
    *,
    task: Task | None = None,
    name: str | None = None,
    sample_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
) -> TargetData:
    """Takes what people have.

    Args:
        data: A folder with one sub-folder of images for each class; a `.csv`, `.tsv` or
            `.parquet` table with a column of image paths or texts and columns of targets;
            `"hfdata:NAME"` or `"hfdata:FOLDER"` (`NAME:CONFIG@SPLIT`) or a data set of the
            `datasets` library; an `.npz` file with arrays `images` and `targets`; a `.npy` file of
            targets; `"minihub:NAME"`; a torch Dataset of (sample, target); a pair (samples,
            targets) of arrays, or of texts and their labels; targets alone, for stored features;
            or TargetData.
        task: `"classification"`, `"multilabel"` or `"regression"`; None to tell from the targets.
        name: Shown in reports.
        sample_column: Of a table; None for one with a usual name (image, path, text, ...).
        target_columns: One or several of a table; None for one with a usual name (label, ...).

    Raises:
        ValueError, TypeError, FileNotFoundError: It is none of these; the message says why.
    """
    match data:
        case TargetData():
            return data
        case str() if data.startswith("minihub:"):
            return _minihub(data.removeprefix("minihub:"))
        case str() if data.startswith("hfdata:"):
            spec = data.removeprefix("hfdata:")
            dataset = load_hf_dataset(spec)
            title = name or Path(spec).name
            return from_hf_dataset(dataset, task, title, sample_column, target_columns)
        case str() | Path() if Path(data).suffix in TABLES and Path(data).exists():
            return from_table(Path(data), task, name, sample_column, target_columns)
        case str() | Path():
            return _from_path(Path(data), task, name)
        case _ if is_hf_dataset(data):
            return from_hf_dataset(data, task, name, sample_column, target_columns)
        case (samples, targets):
            return _from_arrays(samples, targets, task, name or "arrays")
        case torch.utils.data.Dataset():
            return _from_dataset(data, task, name)
        case Tensor() | np.ndarray():
            return _from_arrays(None, data, task, name or "targets")
    raise TypeError(
        "data must be a path, hfdata:NAME, a torch Dataset, (samples, targets), targets or "
        f"TargetData, got {type(data).__name__}"
    )


def _from_arrays(samples: Any, targets: Any, task: Task | None, name: str) -> TargetData:
    count = len(targets if samples is None else samples)
    names = None
    if not isinstance(targets, Tensor) and np.asarray(targets[:1]).dtype.kind in "USO":  # words
        targets, names = encoded([targets], ["targets"], task)
    values, task = as_targets(targets, count, task)
    return TargetData(name, samples, values, task, names)


def _from_dataset(
    dataset: torch.utils.data.Dataset, task: Task | None, name: str | None
) -> TargetData:
    """Targets by the attribute `targets` or `labels` where there is one, else by reading all."""
    samples: Any = dataset
    for attribute in ("targets", "labels"):
        if (targets := getattr(dataset, attribute, None)) is not None:
            break
    else:
        targets = np.asarray([np.asarray(samples[i][1]) for i in range(len(samples))])
    names = getattr(dataset, "classes", None)
    values, task = as_targets(targets, len(samples), task)
    name = name or type(dataset).__name__
    return TargetData(name, samples, values, task, None if names is None else tuple(names))


def _from_path(path: Path, task: Task | None, name: str | None) -> TargetData:
    if path.is_dir():
        return _from_folder(path, task, name)
    if not path.exists():
        raise FileNotFoundError(f"data not found: {path}")
    if path.suffix == ".npy":
        return _from_arrays(None, np.load(path, allow_pickle=False), task, name or path.stem)
    if path.suffix != ".npz":
        raise ValueError(f"data must be a folder, an .npz or a .npy file or {TABLES}, got {path}")
    with np.load(path, allow_pickle=False) as arrays:
        if "targets" not in arrays:
            raise ValueError(f"{path} must hold 'targets', got {sorted(arrays)}")
        images = arrays.get("images")
        return _from_arrays(images, arrays["targets"], task, name or path.stem)


def _from_folder(path: Path, task: Task | None, name: str | None) -> TargetData:
    from torchvision.datasets import ImageFolder  # slow to import

    found = ImageFolder(str(path))
    paths = [file for file, _ in found.samples]
    values, task = as_targets(found.targets, len(paths), task)
    names = tuple(found.classes)
    return TargetData(name or path.name, ImageFiles(paths), values, task, names, names=paths)


def _minihub(name: str) -> TargetData:
    from hubfast.minihub import load_target

    target = load_target(name)
    values, task = as_targets(target.targets, len(target.images))
    images = list(target.images)
    return TargetData(f"minihub:{name}", images, values, task, target.class_names)
