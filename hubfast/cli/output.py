"""What commands share: options, and where results go."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hubfast.utils.progress import progress_bar
from hubfast.utils.terminal import output_console

if TYPE_CHECKING:
    from hubfast.data import TargetData
    from hubfast.ranking import Ranking

Output = Annotated[Path | None, typer.Option(dir_okay=False, help="Write the result there, too.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


@contextmanager
def starting(quiet: bool) -> Iterator[None]:
    """Says that the command is at work while it imports what takes seconds."""
    with progress_bar(not quiet) as bars:
        bars.add_task("starting", total=None)
        yield


# Arguments of the library whose option has another name, and others that errors begin with.
OPTIONS = {
    "target_columns": "--target-column",
    "sample_column": "--sample-column",
    "class_names": "--class-names",
    "templates": "--template",
    "max_unreadable": "--max-unreadable",
    "batch_size": "--batch-size",
    "cache_dir": "--cache-dir",
    "max_size": "--max-size",
}
FIRST = (
    *("top", "method", "validation", "weight", "size", "augment", "task", "ranking", "lr"),
    *("budget", "memory", "confidence", "tolerance", "precision"),
)
FIRST_WORD = re.compile(rf"^({'|'.join(FIRST)})(?= must | is for )")
PAGE = 4096  # bytes, which a full disk does not take
ARGUMENT = re.compile(rf"(?<![\w'\"/.-])({'|'.join(OPTIONS)})(?![\w'\"/.-])")


def with_options(message: str) -> str:
    """The text of an error of the library, its arguments called by their options."""
    message = ARGUMENT.sub(lambda found: OPTIONS[found[1]], message)
    return FIRST_WORD.sub(r"--\1", message)


def read_data(
    data: str,
    *,
    task: str | None,
    sample_column: str | list[str] | None,
    target_column: list[str] | None,
    background: str,
    bits: int | None,
    quiet: bool,
) -> "TargetData":
    """The target data that the options of a command describe; see `hubfast.data.as_target_data`."""
    from hubfast.data import as_target_data

    return as_target_data(
        data,
        task=cast(Any, task),
        sample_column=sample_column or None,
        target_columns=target_column or None,
        background=background,
        bits=bits,
        progress=not quiet,
    )


def check_outputs(*paths: Path | None) -> None:
    """Refuses files that cannot be written before the work, so that no result is lost to that.

    Raises:
        FileNotFoundError: A folder is not there, be it misspelt.
        OSError: A folder takes no file: it is read-only, another user's, or its disk is full.
        ValueError: Two of them are one file.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {path.parent}")
        if path.is_symlink() or (path.exists() and not path.is_file()):  # it is written in place
            if not os.access(path, os.W_OK):
                raise PermissionError(f"{path} cannot be written")
        else:
            _check_folder(path.parent)
    names = [path.resolve() for path in given if path.is_file() or not path.exists()]
    if twice := [path for path in names if names.count(path) > 1]:
        raise ValueError(f"each output must have a file of its own, got {twice[0]} for two of them")


def check_output_folder(folder: Path) -> None:
    """Refuses a folder that cannot be made or written to, before the work.

    Raises:
        OSError: It, or the nearest folder above it that is there, takes no file.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"an output folder cannot be made in {folder}, which is a file")
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    try:
        with TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(PAGE))
    except OSError as error:
        raise OSError(f"nothing can be written to the folder {folder}: {error.strerror}") from error


def build_named(hub: list[str], quiet: bool) -> None:
    """Trains the mini-hub's models among `hub` that are not there yet."""
    from hubfast.minihub import build

    names = [name.removeprefix("minihub:") for name in hub if name.startswith("minihub:")]
    if names or "minihub" in hub:
        build(None if "minihub" in hub else names, progress=not quiet)


def show_ranking(
    ranking: "Ranking", json: Path | None, csv: Path | None, html: Path | None
) -> None:
    """Writes the files that were asked for, and prints the ranking even where one of them fails."""
    try:
        if json:
            ranking.to_json(json)
        if csv:
            ranking.to_csv(csv)
        if html:
            from hubfast.report import write_ranking  # draws with Matplotlib, slow to import

            write_ranking(html, ranking)
    finally:
        output_console().print(ranking)
