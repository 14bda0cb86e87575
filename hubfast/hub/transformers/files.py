"""Files of a transformers model, by its name on the Hugging Face hub or in its folder."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hubfast.hub.transformers.quiet import quiet
from hubfast.utils.documents import WRITTEN, read_table

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def file_of(name: str, file: str) -> Path | None:
    """A file of a model, fetched if need be; None where it has none of that name.

    Args:
        name: Name of the model on the Hugging Face hub, or its folder.
        file: Name of the file, with its folder in the model's.

    Raises:
        OSError: It is not here, and whether there is one cannot be asked.
    """
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    from transformers.utils import cached_file  # slow to import

    with quiet():
        found = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)


def table_of(name: str, file: str) -> dict[str, Any]:
    """What a JSON file of a model says; nothing where it is not there.

    Raises:
        OSError, ValueError: The file cannot be had, or holds no table.
    """
    found = file_of(name, file)
    return {} if found is None else read_table(found, WRITTEN)


def weights_of(name: str, folder: str) -> dict[str, Tensor]:
    """The weights in a folder of a model, on the CPU.

    Raises:
        OSError, ValueError: They cannot be had, or there are none.
    """
    from safetensors.torch import load_file

    for file in WEIGHTS:
        found = file_of(name, joined(folder, file))
        if found is not None and found.suffix == ".safetensors":
            return load_file(found)
        if found is not None:
            weights: dict[str, Tensor] = torch.load(found, map_location="cpu", weights_only=True)
            return weights
    raise ValueError(f"{name} has no weights in {folder!r}, wanted one of {WEIGHTS}")


def joined(folder: str, file: str) -> str:
    """The name of a file in a folder of a model.

    Raises:
        ValueError: The folder is not below the model's own.
    """
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ValueError(f"modules of a model must be in its own folder, got {folder!r}")
    return f"{folder}/{file}" if folder else file
