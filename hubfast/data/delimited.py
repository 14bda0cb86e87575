"""Text tables as people export them: encoding and separator are found, and said where unusual."""

import codecs
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = {  # a longer mark comes before those that it begins with
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MOST = 2**30  # bytes, which are several times that as cells of Python
LOOKED_AT = 200  # records that tell the separator
NAMED = 5  # rows in a message; more are counted


class Delimited(NamedTuple):
    """Names of columns, records of as many cells, and the number of each as spreadsheets count."""

    names: list[str]
    records: list[list[str]]
    rows: list[int]
    separator: str
    notes: tuple[str, ...] = ()


def read_delimited(path: Path) -> Delimited:
    """Reads a `.csv` or `.tsv` file with a header.

    Raises:
        ValueError: The file is no text, holds no samples, or its rows do not fit the header.
    """
    text, notes = decoded(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # Excel's own line
        text, usual, skipped = rest, first.strip()[4], 1
    separator = _separator(text, usual)
    if separator != usual:
        notes.append(f"columns of {path.name} are separated by {SEPARATORS[separator]}")
    with _long_cells():
        try:
            found = list(_records(text, separator))
        except csv.Error as error:
            if separator != "\t":
                raise ValueError(f"{path}: {error}; quote cells that hold quotes") from None
            found = list(_records(text, separator, csv.QUOTE_NONE))
            notes.append(f"quotes in {path.name} do not pair, and are taken as characters")
    if len(found) < 2:
        raise ValueError(f"{path} must hold samples, got none below its header")
    names = [name.strip() for name in found[0][1]]
    records = _fitted(path, names, found[1:], separator)
    return Delimited(names, records, [n + skipped for n, _ in found[1:]], separator, tuple(notes))


def decoded(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and notes on its encoding where that is not UTF-8.

    Raises:
        ValueError: It is no text, or too large.
    """
    with path.open("rb") as file:
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise ValueError(f"{path} must have at most {MOST} bytes; give larger tables as .parquet")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if encoding is None and content.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is no text but a zip or Excel file; export it as CSV")
    if encoding is None and b"\0" in content[:4096]:
        odd, even = content[1:4096:2].count(0), content[:4096:2].count(0)
        encoding = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise ValueError(f"{path} is no text in {encoding}: {error}") from None
        return _of_western(path, content, error)
    plain = encoding in (None, "utf-8-sig")
    return text, [] if plain else [f"{path.name} is read as {encoding}"]


def _of_western(path: Path, content: bytes, fault: UnicodeDecodeError) -> tuple[str, list[str]]:
    try:
        text, encoding = content.decode("cp1252"), "cp1252 (Windows, Western Europe)"
    except UnicodeDecodeError:
        text, encoding = content.decode("latin-1"), "latin-1"
    line = content[: fault.start].count(b"\n") + 1
    return text, [
        f"{path.name} is not in UTF-8 (line {line}) and is read as {encoding}; if its letters "
        "come out wrong, save it as UTF-8"
    ]


def _separator(text: str, usual: str) -> str:
    """The separator that divides the header and the first rows alike, the usual one first."""
    candidates = [usual, *(s for s in SEPARATORS if s != usual)]
    headers: list[str] = []
    for separator in candidates:
        with _long_cells():
            try:
                first = [cells for _, cells in islice(_records(text, separator), LOOKED_AT)]
            except csv.Error:
                first = [next(csv.reader([text.partition("\n")[0]], delimiter=separator), [])]
        if not first or len(first[0]) < 2:
            continue
        headers.append(separator)
        if all(len(cells) == len(first[0]) for cells in first):
            return separator
    return headers[0] if headers else usual


def _records(
    text: str, separator: str, quoting: int = csv.QUOTE_MINIMAL
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with its number, from 1 on."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=quoting,  # type: ignore[arg-type]
        skipinitialspace=True,
        strict=quoting != csv.QUOTE_NONE,
    )
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(f"row {number} cannot be divided into cells: {error}") from None
        if any(cell.strip() for cell in cells):
            yield number, cells


def _fitted(
    path: Path, names: Sequence[str], found: Sequence[tuple[int, list[str]]], separator: str
) -> list[list[str]]:
    """Records with one cell per column; cells that lack at the end of a row are empty."""
    width = len(names)
    wrong = [n for n, cells in found if any(cell.strip() for cell in cells[width:])]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
        raise ValueError(
            f"{path}: rows {wrong[:NAMED]}{more} have more cells than the header, which has "
            f"{width}; quote cells that hold {SEPARATORS.get(separator, separator)}"
        )
    return [[*cells[:width], *[""] * (width - len(cells))] for _, cells in found]


@contextmanager
def _long_cells() -> Iterator[None]:
    """Allows cells of any length, which the csv module bounds for the whole process."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
