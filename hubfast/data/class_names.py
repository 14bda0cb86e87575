"""Classes and target columns of two data sets, matched by name."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from hubfast.data.target import TargetData

SHOWN = 20  # names listed in a message; more are counted


class Classes(NamedTuple):
    """Classes of a data set, or what the outputs of a model stand for."""

    ids: tuple[int, ...]
    names: tuple[str, ...] | None  # one name per id; None where classes have ids only


class Match(NamedTuple):
    """Where the classes of one data set stand among those of another."""

    positions: tuple[int | None, ...]  # one per class that was looked for; None: it is not there
    note: str  # what a reader must know of how they were matched; empty if by name or by id alone


def classes_of(data: TargetData) -> Classes:
    """The classes that have samples in `data`, ids ascending.

    Raises:
        ValueError: An id has no name in data that names its classes.
    """
    ids = tuple(int(c) for c in data.targets.unique())
    names = data.class_names
    if names is None:
        return Classes(ids, None)
    if nameless := [c for c in ids if not 0 <= c < len(names)]:
        raise ValueError(
            f"class_names of data {data.name!r} must name every class: "
            f"got {len(names)} names and class ids {listed(nameless)}"
        )
    return Classes(ids, tuple(str(names[c]) for c in ids))


def matched(given: Classes, known: Classes, name: str) -> Match:
    """Finds each class of `given` in `known`: by name, or by id where neither has names.

    Where one side has names and the other does not, numbers that are names ("0", "7") are matched
    with ids of the same value; other names stand for the ids that they have, and the note says so.

    Args:
        given: Classes to look for.
        known: Classes to look in.
        name: What `given` is called in messages.

    Raises:
        ValueError: A name stands for several classes, so that it cannot be matched.
    """
    one_side = (given.names is None) != (known.names is None)
    named = known.names if given.names is None else given.names
    numbers = one_side and all(_is_number(each) for each in named or ())
    by_name = given.names is not None and known.names is not None
    where: defaultdict[Any, list[int]] = defaultdict(list)
    for position, key in enumerate(_keys(known, by_name, numbers)):
        where[key].append(position)
    keys = _keys(given, by_name, numbers)
    positions = [
        _one(where.get(key, []), c, known, key) for c, key in zip(given.ids, keys, strict=True)
    ]
    return Match(tuple(positions), _note(given, known, name, numbers) if one_side else "")


def listed(names: Sequence[Any]) -> str:
    """Names with commas between them; many of them are cut short and counted."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(str(name) for name in names[:SHOWN]) + more


def same_name(name: str) -> str:
    """A form that is equal for equal names: file systems write accents in two ways."""
    return unicodedata.normalize("NFC", name)


def _keys(classes: Classes, by_name: bool, numbers: bool) -> list[Any]:
    if by_name:
        return [same_name(name) for name in classes.names or ()]
    if numbers and classes.names is not None:
        return [int(name) for name in classes.names]
    return list(classes.ids)


def _one(positions: list[int], class_id: int, known: Classes, key: Any) -> int | None:
    """The only position; of several with one name, as ImageNet has them, the one of the same id."""
    if len(positions) > 1:
        positions = [p for p in positions if known.ids[p] == class_id]
        if len(positions) != 1:
            raise ValueError(f"class names must differ to be matched, got {key!r} for several")
    return positions[0] if positions else None


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _note(given: Classes, known: Classes, name: str, numbers: bool) -> str:
    side = f"data {name!r}" if given.names is None else "the training data"
    if numbers:
        return f"{side} has no class names: class ids are matched with names that are numbers"
    named = known if given.names is None else given
    pairs = [f"{c} = {label}" for c, label in zip(named.ids, named.names or (), strict=True)]
    return f"{side} has no class names: classes are matched by id ({listed(pairs)})"
