"""What was measured on a GPU, for the choices that its kernels leave open.

One JSON file per GPU lies in the folder `measured`, named by `file_name`; benchmarks/gpu_suite.py
writes it. Nothing is tuned at run time: where nothing was measured, those who choose go by shapes.
The environment variable HUBFAST_MEASURED names another folder, for a GPU measured by its user.
"""

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

FOLDER = Path(__file__).parent / "measured"


def choices(device: torch.device | str, table: str) -> Mapping[str, Any]:
    """What was measured on this device for one kind of choice; empty where nothing was.

    Args:
        device: Where the tensors are.
        table: The kind of choice, such as `"convolve"`.

    Raises:
        ValueError: The device's file is not one of measured choices.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return MappingProxyType({})
    folder = os.environ.get("HUBFAST_MEASURED")
    index = torch.cuda.current_device() if device.index is None else device.index
    found = of_gpu(_name(index), FOLDER if folder is None else Path(folder))
    return found.get(table, MappingProxyType({}))


@functools.cache
def _name(index: int) -> str:
    return torch.cuda.get_device_name(index)


@functools.cache
def of_gpu(name: str, folder: Path = FOLDER) -> Mapping[str, Mapping[str, Any]]:
    """All tables of the GPU of that name; empty where it was never measured.

    Raises:
        ValueError: Its file is not one of measured choices.
    """
    path = folder / file_name(name)
    if not path.exists():
        return MappingProxyType({})
    try:
        tables = json.loads(path.read_text())["tables"]
        return MappingProxyType({key: MappingProxyType(table) for key, table in tables.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must hold tables of measured choices: {error!r}") from error


def file_name(gpu: str) -> str:
    """The name of a GPU's file: `"NVIDIA H100 80GB HBM3"` has `nvidia_h100_80gb_hbm3.json`."""
    return re.sub(r"[^a-z0-9]+", "_", gpu.lower()).strip("_") + ".json"
