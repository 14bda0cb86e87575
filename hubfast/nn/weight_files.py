"""Files of weights, read without running anything from them."""

import pickle
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # names of Python 2, as torch reads them
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

LEGACY_PICKLES = 4  # of torch before 1.6: magic number, protocol, system, content
REFUSED = re.compile(r"GLOBAL (\S+) whose module (\S+) is blocked")


class _SettableClass(type):
    """Placeholders count as dictionaries where torch's unpickler sets items."""

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is dict

    def __hash__(cls) -> int:
        return id(cls)


class Placeholder(list, metaclass=_SettableClass):
    """Stands for an object of a class or function that a file names: it takes all and does nothing.

    `kind` is the full name, such as `argparse.Namespace`.
    """

    kind = ""

    def __new__(cls, *args: Any, **options: Any) -> "Placeholder":
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def extend(self, items: Iterable[Any]) -> None: ...

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


def read_weight_file(path: str | Path) -> Any:
    """What a `.safetensors` file or a file of `torch.save` holds, tensors on the CPU.

    torch's unpickler of weights alone reads it. Objects that are neither tensors nor plain
    containers, such as a training script's options, become a `Placeholder`: their classes are
    never looked up, and nothing from the file runs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no weights; the message says what it is instead, or why torch
            cannot read it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    _refuse_others(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        zipped = zipfile.is_zipfile(path)
        known = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        names = known if zipped else _legacy_globals(path)
        kinds: list[Any] = [(_placeholder(name), name) for name in names]
        with torch.serialization.safe_globals(kinds), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # it reads what it can
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except (SafetensorError, pickle.UnpicklingError, EOFError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as weights: {_reason(error)}") from error


def _refuse_others(path: Path) -> None:
    """Says what a file is that often lies where a checkpoint should."""
    if path.is_dir():
        raise ValueError(f"a checkpoint must be a file, got the folder {path}")
    with path.open("rb") as file:
        start = file.read(200).lstrip()
    if not start:
        raise ValueError(f"{path} is empty")
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is cut off: it was not copied or downloaded as a whole")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a pointer of Git LFS, not the weights: run git lfs pull")
    if start.lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{path} is a web page, not weights: download the file itself")


def _placeholder(name: str) -> Any:
    return _SettableClass("Placeholder", (Placeholder,), {"kind": name})


def _legacy_globals(path: Path) -> set[str]:
    """Full names of the classes and functions in a file of torch before 1.6."""
    found: set[str] = set()
    with path.open("rb") as file:
        try:
            codes = [code for _ in range(LEGACY_PICKLES) for code in pickletools.genops(file)]
        except ValueError as error:
            raise ValueError("it is not a whole file of torch.save") from error
    for code, value, _ in codes:
        if code.name == "GLOBAL":
            module, name = str(value).split(" ")
            module, name = NAME_MAPPING.get((module, name), (module, name))
            found.add(f"{IMPORT_MAPPING.get(module, module)}.{name}")
    return found


def _reason(error: Exception) -> str:
    """One line: why torch refuses a file, without its advice to run code from it."""
    text = str(error)
    if blocked := REFUSED.search(text):
        return f"it names {blocked[1]}, which no file of weights needs"
    if "Unsupported operand" in text:
        return "it was pickled with protocol 4 or 5; save it with that of torch.save, which is 2"
    if "persistent_load of storage" in text:
        return "it holds a whole pickled module; save its weights: torch.save(m.state_dict(), FILE)"
    if "torchscript" in text.lower():
        return "it is a TorchScript program; save its weights: torch.save(m.state_dict(), FILE)"
    text = text.rpartition("WeightsUnpickler error: ")[2].strip()
    return text.splitlines()[0] if text else type(error).__name__
