"""Packages that only some users need: imported where they are used, missed with advice."""

import importlib
from typing import Any


def require(module: str, extra: str, purpose: str) -> Any:
    """The module, imported.

    Args:
        module: `"onnxruntime"`, `"transformers"`.
        extra: Name of the extra of hubfast that installs it.
        purpose: What needs it, as the user wrote it: `"onnx:a.onnx"`.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to install it.
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
