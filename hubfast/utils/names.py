"""Names of models and files, and values in messages, as text of bounded length."""

import reprlib
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
ENDS = (1 / 3, 1 / 2, 2 / 3, 1.0, 0.0)  # shares of the room for a name's end, tried in turn


def encodable(text: str) -> str:
    """`text` as any UTF-8 file takes it.

    File names that are not UTF-8, or are read where the locale is ASCII, have lone surrogates.
    """
    return text.encode("utf-8", "replace").decode()


def printable(name: str) -> str:
    """`name` on one line that any terminal can show."""
    text = encodable(" ".join(name.split()))
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def brief(value: Any) -> str:
    """The `repr` of a value that may be of any size and depth, for a message."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    try:
        return short.repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"a large {type(value).__name__}"


def shortened(names: Sequence[str], room: int) -> list[str]:
    """Printable names of at most `room` columns; what is left out is in the middle.

    The place of the gap is the same for all, and such that different names stay different where
    one of a few places does that.
    """
    lines = [printable(name) for name in names]
    tries = [[_without_middle(line, room, end) for line in lines] for end in ENDS]
    return max(tries, key=lambda shown: len(set(shown)))  # the first of the best


def _without_middle(line: str, room: int, end: float) -> str:
    if cell_len(line) <= room:
        return line
    kept = max(room - 1, 0)
    while kept:  # characters may take two columns
        last = round(end * kept)
        shown = line[: kept - last] + ELLIPSIS + (line[-last:] if last else "")
        if cell_len(shown) <= room:
            return shown
        kept -= 1
    return ELLIPSIS[:room]
