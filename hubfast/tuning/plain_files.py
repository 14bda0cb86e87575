"""Folders that other libraries write, each file whole or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hubfast.hub.transformers.quiet import quiet
from hubfast.utils.files import replacing


def save_plain(folder: Path, *writers: Callable[[Path], object]) -> None:
    """Puts what libraries write into one folder, each file whole or not at all.

    Args:
        folder: Made if it is not there.
        writers: Each writes its files into the folder that it is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made, quiet():
        for write in writers:
            write(Path(made))
        for file in sorted(Path(made).rglob("*")):
            if file.is_file():
                place = folder / file.relative_to(made)
                place.parent.mkdir(parents=True, exist_ok=True)
                with replacing(place) as partial:
                    shutil.copyfile(file, partial)
