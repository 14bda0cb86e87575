"""JSON, YAML and TOML from files that anybody wrote: bounded, and strict about numbers.

A file of a few kilobytes can be nested until the parser fails, or hold aliases of aliases that are
gigabytes once they are followed. Such files are refused before anything is made of them.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hubfast.utils.files import write_text
from hubfast.utils.names import brief

DEPTH = 64  # levels of lists and tables within each other
WRITTEN = 2**22  # bytes of a file that a person writes: tens of thousands of models
KEPT = 2**28  # bytes of a file that hubfast writes: a race of thousands of models
NODES = 2**20  # values of a YAML file, with its aliases followed
NESTED = f"be nested at most {DEPTH} levels, and is deeper"


def read_json(path: str | Path, most: int = KEPT) -> Any:
    """The content of a JSON file; numbers that are none, such as NaN, are None.

    Args:
        path: The file.
        most: How many bytes it may have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON, is nested too deep or is too large; the message names it.
    """
    return parse_json(text_of(path, most), str(path))


def read_table(path: str | Path, most: int = KEPT) -> dict[str, Any]:
    """The content of a JSON file that must be a table; arguments and errors are `read_json`'s."""
    content = read_json(path, most)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a table, got {brief(content)}")
    return content


def parse_json(text: str, what: str) -> Any:
    """The content of a JSON text, as `read_json` gives that of a file.

    Args:
        text: The text.
        what: What it is, for messages.

    Raises:
        ValueError: It is no JSON, or is nested too deep.
    """
    try:
        content = json.loads(text, parse_constant=lambda name: None)
    except RecursionError:
        raise _too_deep(what) from None
    except ValueError as error:
        raise ValueError(f"{what} must be JSON and cannot be read: {error}") from error
    check_depth(content, what)
    return content


def read_yaml(path: str | Path, most: int = WRITTEN) -> Any:
    """The content of a YAML file.

    Args:
        path: The file.
        most: How many bytes it may have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no YAML, is nested too deep, is too large, or becomes so by its aliases.
    """
    import yaml  # slow to import

    text, loader = text_of(path, most), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        bounded = _fault_of_events(yaml.parse(text, Loader=loader))
        if not bounded:
            return yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        said = error.problem or error.context or "it is no YAML"
        raise ValueError(f"{path} cannot be read: {said}{where}") from error
    except Exception as error:  # a value that its type, such as a date, cannot hold: any kind
        said = " ".join(str(error).split())
        raise ValueError(f"{path} must be YAML and cannot be read: {said}") from error
    raise ValueError(f"{path} must {bounded}")


def read_toml(path: str | Path, most: int = WRITTEN) -> Any:
    """The content of a TOML file; arguments and errors are those of `read_yaml`."""
    text = text_of(path, most)
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(str(path)) from None
    except ValueError as error:  # a TOMLDecodeError, or a number of too many digits
        raise ValueError(f"{path} cannot be read: {error}") from error
    check_depth(content, str(path))
    return content


def json_lines(path: str | Path, begin: str, most: int = KEPT) -> Iterator[tuple[str, Any]]:
    """What each line of a file of JSON lines is called, and its table.

    A line that a kill cut off is left out, and so is an empty one.

    Args:
        path: The file.
        begin: How each of its lines begins: `{"key": `.
        most: How many bytes it may have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text or too large, or a line is something else; the message names it.
    """
    for number, line in enumerate(text_of(path, most).splitlines(), 1):
        what = f"line {number} of {path}"
        if not line.startswith(begin[: len(line)]):
            raise ValueError(f"{what} must begin with {begin}, got {brief(line)}")
        try:
            yield what, parse_json(line, what)
        except ValueError:
            if line.endswith("}"):  # it is whole
                raise


def write_json(path: str | Path, content: Any) -> None:
    """Writes JSON, whole or not at all; numbers that are not finite become null."""
    write_text(path, json.dumps(strict(content), indent=2, allow_nan=False) + "\n")


def strict(content: Any) -> Any:
    """`content` with None for every float that is not finite, which JSON has no word for."""
    match content:
        case float():
            return content if math.isfinite(content) else None
        case Mapping():
            return {key: strict(value) for key, value in content.items()}
        case list() | tuple():
            return [strict(value) for value in content]
    return content


def text_of(path: str | Path, most: int) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        OSError: The file cannot be read.
        ValueError: It has more than `most` bytes, or is no text.
    """
    with Path(path).open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} must be at most {most:,} bytes, and is larger")
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be text in UTF-8, got {error.reason} at {error.start}"
        ) from error


def check_depth(content: Any, what: str) -> None:
    """Refuses lists and tables that are nested more than DEPTH levels.

    Raises:
        ValueError: They are.
    """
    level = [content]
    for _ in range(DEPTH):
        inside = (inner for outer in level for inner in _parts(outer))
        level = [inner for inner in inside if isinstance(inner, dict | list)]
        if not level:
            return
    raise _too_deep(what)


def _parts(content: Any) -> Iterable[Any]:
    match content:
        case dict():
            return content.values()
        case list():
            return content
    return ()


def _fault_of_events(events: Iterable[Any]) -> str:
    """What YAML must be that is nested too deep, or that aliases make large; empty if all is well.

    It looks at what the parser meets, before any value is made.
    """
    import yaml

    open_sizes = [0]  # how many values each list or table has so far that is open
    open_names: list[str | None] = [None]  # their anchors
    known: dict[str | None, int] = {}  # how many values each closed anchor has
    for event in events:
        match event:
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                open_sizes.append(1)
                open_names.append(event.anchor)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                known[open_names.pop()] = size = open_sizes.pop()
                open_sizes[-1] += size
            case yaml.ScalarEvent():
                known[event.anchor] = 1
                open_sizes[-1] += 1
            case yaml.AliasEvent():
                if event.anchor in open_names:
                    return f"not hold itself, as its alias *{event.anchor} says"
                open_sizes[-1] += known.get(event.anchor, 1)
        if len(open_sizes) > DEPTH + 1:
            return NESTED
        if sum(open_sizes) > NODES:
            return f"be at most {NODES:,} values, and is more, its aliases followed"
    return ""


def _too_deep(what: str) -> ValueError:
    return ValueError(f"{what} must {NESTED}")
