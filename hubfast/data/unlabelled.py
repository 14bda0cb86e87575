"""Images without labels, for scores that need none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hubfast.data.folders import images_below
from hubfast.data.images import ImageFiles
from hubfast.data.sources import as_target_data
from hubfast.data.target import TargetData


def without_labels(data: Any, *, progress: bool = True) -> TargetData:
    """Target data whose samples all have the same class, which says nothing.

    Args:
        data: A folder, all images below which are taken; a list of images; or what
            `as_target_data` takes, whose targets are not used.
        progress: As in `as_target_data`.

    Raises:
        ValueError, TypeError, FileNotFoundError: As `as_target_data`; a folder without images.
    """
    if isinstance(data, str | Path) and Path(data).is_dir():
        return _of_folder(Path(data))
    if isinstance(data, list):
        return as_target_data((data, [0] * len(data)), task="classification", name="images")
    found = as_target_data(data, progress=progress)
    return replace(found, targets=_none(len(found)), task="classification", class_names=None)


def _of_folder(path: Path) -> TargetData:
    paths: Sequence[str] = images_below(path)[0]
    if not paths:
        raise FileNotFoundError(f"no image in {path} or below it")
    samples, name = ImageFiles(list(paths)), path.resolve().name
    return TargetData(name, samples, _none(len(paths)), "classification", names=paths)


def _none(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.int64, device="cpu")
