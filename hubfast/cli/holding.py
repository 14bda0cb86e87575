"""Output that a command holds until it ends, so that another one at the same time is refused."""

from pathlib import Path

import typer

from hubfast.utils.held import file_held, folder_held


def hold_files(context: typer.Context, *paths: Path | None) -> None:
    """Holds each of these files, those that are None left out, until the command ends.

    Raises:
        InUse: Another run that has not ended holds one of them.
    """
    for path in paths:
        if path is not None:
            context.with_resource(file_held(path))


def hold_folder(context: typer.Context, folder: Path) -> None:
    """Holds the folder until the command ends.

    Raises:
        InUse: Another run that has not ended holds it.
    """
    context.with_resource(folder_held(folder))
