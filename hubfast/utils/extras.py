"""Packages that are imported where they are used: optional ones, and slow ones."""

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def require(module: str, extra: str, purpose: str) -> Any:
    """The module, imported.

    Args:
        module: `"onnxruntime"`, `"transformers"`.
        extra: Name of the extra of hubfast that installs it.
        purpose: What needs it, as the user wrote it: `"onnx:a.onnx"`.

    Raises:
        ModuleNotFoundError: The package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:  # the package is there, and lacks something itself
            raise
        raise ModuleNotFoundError(
            f"{purpose} needs {package}: pip install 'hubfast[{extra}]'", name=package
        ) from error


def slow_import(module: str) -> Any:
    """The module, imported with Python's garbage collector paused."""
    with collection_paused():
        return importlib.import_module(module)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pauses the garbage collector while a large package is imported, whose objects all live on.

    The collector looks at all objects again and again while they become more: that was a third of
    the 3.3 s of CPU that torch and timm took to import.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
