"""Checks of numbers that people give as arguments: of the right kind, and large enough."""

import operator
from numbers import Real
from typing import Any

from hubfast.utils.names import brief


def as_whole(value: Any, name: str, least: int) -> int:
    """Gives a whole number of any type as Python's.

    Raises:
        TypeError: It is no whole number, or True or False.
        ValueError: It is below `least`.
    """
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{name} must be a whole number, got {brief(value)}")
    if found < least:
        raise ValueError(f"{name} must be at least {least}, got {brief(value)}")
    return found


def check_number(value: Any, name: str) -> None:
    """Refuses what is no real number.

    Raises:
        TypeError: It is none, or True or False.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {brief(value)}")
