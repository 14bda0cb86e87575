"""Rows of results in a file of JSON lines: each is written when it is known, and never redone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubfast.utils.documents import json_lines, strict
from hubfast.utils.names import brief


class KeptRows:
    """Rows by their keys; a run that is killed loses the row that it was at, and no other.

    Args:
        path: The file, made with the first row.

    Raises:
        OSError: The file is there and cannot be read.
        ValueError: It holds something else; the message names the line.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        for what, row in json_lines(path, '{"key": ') if path.exists() else ():
            if not isinstance(row.get("key"), str):
                raise ValueError(f"key in {what} must be text, got {brief(row.get('key'))}")
            self._rows[row["key"]] = row

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Writes a row; numbers that are not finite become None."""
        whole = {"key": key, **strict(row)}
        append_line(self.path, whole)
        self._rows[key] = whole


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Writes a line of JSON behind those of a file; one that a kill cut off is ended before."""
    cut = path.exists() and not path.read_text().endswith("\n")
    with path.open("a") as file:
        file.write("\n" * cut + json.dumps(row, allow_nan=False) + "\n")
