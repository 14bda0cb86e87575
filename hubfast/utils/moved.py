"""Names that have moved: the old ones go on working for one release."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def moved(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module whose names are elsewhere now.

    Args:
        package: Name of the module, such as `"hubfast.zoo"`.
        homes: Where each old name is now: `{"cost_rows": "hubfast.bench.cost.cost_rows"}`.

    Returns:
        A function that gives what an old name stands for, with a DeprecationWarning of the new one.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].rpartition(".")
        warnings.warn(f"{package}.{name} is now {homes[name]}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(module), attribute)

    return find
