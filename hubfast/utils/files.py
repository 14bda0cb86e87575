"""Checkpoints, written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch

FORMAT = "hubfast.Checkpoint/1"


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes `content`; a kill at any moment leaves the former file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote; runs no code from the file.

    Raises:
        ValueError: Another kind of file.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold {FORMAT}")
    return content
