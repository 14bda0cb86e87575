"""Dataclasses made of plain content, such as JSON has: every value is checked against its field."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hubfast.utils.names import brief

Record = TypeVar("Record")
PLAIN = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def as_record(kind: type[Record], content: Any, what: str) -> Record:
    """The dataclass that `content` describes.

    Args:
        kind: A dataclass. Its fields hold text, numbers, None, dataclasses, tuples, mappings.
        content: A mapping from the names of its fields; other keys are left out.
        what: What it is, for messages: `"r.json"`.

    Raises:
        ValueError: A field is missing, or its value is of another kind; the message names it.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{what} must be a table, got {brief(content)}")
    hints, given = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        place = f"{field.name} of {what}"
        if field.name in content:
            given[field.name] = _value(hints[field.name], content[field.name], place)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{what} must have {field.name!r}, got {brief(list(content))}")
    return kind(**given)


def _value(kind: Any, value: Any, what: str) -> Any:
    """`value` as this kind of type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        (kind,) = (each for each in inner if each is not NoneType)
        return _value(kind, value, what)
    if dataclasses.is_dataclass(kind):
        return as_record(kind, value, what)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        kinds = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True), 1)
            return tuple(_value(each, part, f"entry {i} in {what}") for i, (each, part) in pairs)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        return {
            _value(inner[0], key, f"a key of {what}"): _value(inner[1], part, f"{key!r} of {what}")
            for key, part in value.items()
        }
    elif origin is Literal:
        if value in inner:
            return value
        raise ValueError(f"{what} must be one of {inner}, got {brief(value)}")
    elif kind is Any or type(value) is kind or (kind is float and type(value) is int):
        return value
    wanted = PLAIN.get(kind, "a list" if origin is tuple else "a table")
    raise ValueError(f"{what} must be {wanted}, got {brief(value)}")
