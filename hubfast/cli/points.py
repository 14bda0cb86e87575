"""Layers and poolings as they are written on the command line."""

from collections.abc import Sequence


def layers_of(written: Sequence[str] | None) -> list[str | int] | str:
    """The argument `layers` of `rank` for what was written: words and numbers, some by commas."""
    return [_number(one) for one in _parts(written)] or "last"


def pooling_of(written: Sequence[str] | None) -> list[str] | str:
    """The argument `pooling` of `rank` for what was written."""
    return _parts(written) or "auto"


def _parts(written: Sequence[str] | None) -> list[str]:
    return [part.strip() for one in written or () for part in one.split(",")]


def _number(written: str) -> str | int:
    try:
        return int(written)
    except ValueError:  # rank() says which words there are
        return written
