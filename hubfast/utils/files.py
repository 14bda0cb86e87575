"""Files that are written whole or not at all, and checkpoints among them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubfast.utils.decoding import decoding

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "hubfast.Checkpoint/1"


@contextmanager
def replacing(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Gives a file beside `path` to write to, which takes the place of `path` at the end.

    A kill at any moment leaves the former file or the new one; an exception leaves the former.
    Threads, processes and machines may write one `path` at the same time: the last one's file
    stays. What is no plain file, such as a pipe or a link to one, is written to directly.

    Args:
        path: Its folder must exist.
        durable: The content is on the disk before the file takes its place, so that a loss of
            power, too, leaves one of the two files whole.

    Raises:
        OSError: The file cannot be written; the error names `path`.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    # The suffix stays: by it pandas knows whether to compress.
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        yield partial
        if durable:
            _to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        if error.filename in (str(partial), partial):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with replacing(path) as partial:
        # Names of files that are not UTF-8 reach here as lone surrogates.
        partial.write_bytes(text.encode("utf-8", "replace"))


def write_csv(path: str | Path, frame: "pd.DataFrame") -> None:
    """Writes a table without its index, whole or not at all."""
    with replacing(path) as partial:
        frame.to_csv(partial, index=False)


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` as a checkpoint that outlasts a loss of power, too."""
    import torch  # slow to import, and most files need none of it

    with replacing(path, durable=True) as partial:
        torch.save({"format": FORMAT, **content}, partial)


def load(path: Path) -> dict[str, Any]:
    """Reads what `save` wrote; runs no code from the file.

    Raises:
        ValueError: The file holds something else.
    """
    import torch

    with decoding(path, f"cannot be read as {FORMAT}"):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold {FORMAT}")
    return content


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
