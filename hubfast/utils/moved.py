"""Names that have moved: the old ones go on working for one release."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


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


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of functions whose arguments are called otherwise now.

    Args:
        names: The new name of each old one, such as `pictures="images"`. An argument that is given
            by its old name is passed on by the new one, with a DeprecationWarning.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for old in names.keys() & options.keys():
                called = f"{function.__qualname__}({old}=...)"
                message = f"{called} is now {names[old]}=..."
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                options[names[old]] = options.pop(old)
            return function(*args, **options)

        return call

    return decorate


class Former:
    """An attribute by its old name: within a class, `pictures = Former("images")`."""

    def __init__(self, now: str):
        self.now, self.name = now, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"{owner.__name__}.{name}"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        warnings.warn(f"{self.name} is now {self.now}", DeprecationWarning, stacklevel=2)
        return getattr(instance, self.now)


def renamed_attributes(**names: str) -> Callable[[C], C]:
    """A decorator of classes whose attributes are called otherwise now.

    The old names of attributes, and of a dataclass's arguments, go on working with a
    DeprecationWarning. Instances that were pickled with the old names are read as well, buffers of
    an nn.Module included.

    Args:
        names: The new name of each old one, such as `deviation="std"`.
    """

    def decorate(cls: C) -> C:
        for old, now in names.items():
            former = Former(now)
            former.__set_name__(cls, old)
            setattr(cls, old, former)
        restore = getattr(cls, "__setstate__", lambda self, state: self.__dict__.update(state))

        def __setstate__(self: Any, state: dict[str, Any]) -> None:
            restore(self, _with_new_names(state, names))

        members: dict[str, Any] = {"__setstate__": __setstate__}
        if is_dataclass(cls):
            members["__init__"] = renamed(**names)(cls.__init__)
        for name, member in members.items():
            setattr(cls, name, member)
        return cls

    return decorate


def _with_new_names(state: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What an instance is restored from, with new names, also of a module's buffers."""
    known = {names.get(name, name): value for name, value in state.items()}
    if "_buffers" in known:
        buffers, transient = known["_buffers"], known["_non_persistent_buffers_set"]
        known["_buffers"] = {names.get(name, name): value for name, value in buffers.items()}
        known["_non_persistent_buffers_set"] = {names.get(name, name) for name in transient}
    return known
