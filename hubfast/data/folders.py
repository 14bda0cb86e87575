"""Folders of images: one sub-folder for each class, as torchvision's ImageFolder has them."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hubfast.data.images import ImageFiles, image_suffixes
from hubfast.data.target import TargetData
from hubfast.scores.inputs import Task, as_targets

OF_SYSTEMS = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
    *("lost+found", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}
PART = re.compile(r"(train|training|val|valid|validation|test|testing|dev|eval)([\W_]*(set|\d+))?")
EXAMPLES = 3  # files named of those left out; more are counted
TABLES = (".csv", ".tsv", ".parquet", ".npz")


def from_folder(path: Path, task: Task | None, name: str | None) -> TargetData:
    """Takes every image below a sub-folder as a sample of its class; classes are sorted by name.

    Hidden files and folders, and those that systems leave, do not count. What is left out is said
    in the notes.

    Raises:
        FileNotFoundError: There is no class folder, or none holds an image.
    """
    classes = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and shown(entry))
    if not classes:
        raise FileNotFoundError(f"no class folder in {path}: {_wanted(path)}")
    paths: list[str] = []
    targets: list[int] = []
    left_out = [e.path for e in os.scandir(path) if not e.is_dir() or not shown(e)]
    empty = []
    for target, label in enumerate(classes):
        images, others = images_below(path / label)
        paths += images
        targets += [target] * len(images)
        left_out += others
        empty += [] if images else [label]
    said = _left_out_note(path, left_out)
    if not paths:
        raise FileNotFoundError("; ".join([f"no image in the class folders of {path}", *said]))
    parts = [label for label in classes if PART.fullmatch(label.lower())]
    if len(parts) == len(classes) == 1:
        raise ValueError(
            f"{path} has the one folder {parts[0]!r}, a part of a data set and no class; "
            f"give {path / parts[0]}"
        )
    notes = [*_parts_note(path, classes, parts), *_empty_note(empty), *said]
    values, task = as_targets(targets, len(paths), task)
    return TargetData(
        name or path.resolve().name,
        ImageFiles(paths),
        values,
        task,
        tuple(classes),
        names=paths,
        notes=tuple(notes),
    )


def shown(entry: "os.DirEntry[str] | str") -> bool:
    """Whether a file or folder is neither hidden nor left by a system."""
    name = entry if isinstance(entry, str) else entry.name
    return not name.startswith(".") and name.lower() not in OF_SYSTEMS


def images_below(folder: Path) -> tuple[list[str], list[str]]:
    """The image files below a folder in ImageFolder's order, and all others."""
    images: list[str] = []
    others: list[str] = []
    for _, files in sorted(_walk(str(folder))):
        for file in sorted(files):
            visible = all(map(shown, os.path.relpath(file, folder).split(os.sep)))
            suffix = os.path.splitext(file)[1].lower()
            (images if visible and suffix in image_suffixes() else others).append(file)
    return images, others


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder below with its files; links are followed, and each folder is met once."""
    met = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        met.add(os.path.realpath(place))
        folders[:] = [f for f in folders if os.path.realpath(os.path.join(place, f)) not in met]
        yield place, [os.path.join(place, file) for file in files]


def _left_out_note(root: Path, entries: Sequence[str]) -> list[str]:
    files = []
    for entry in entries:
        inside = [file for _, found in _walk(entry) for file in found]  # what a hidden folder holds
        files += sorted(inside) if os.path.isdir(entry) else [entry]
    if not files:
        return []
    hidden = [f for f in files if not all(map(shown, os.path.relpath(f, root).split(os.sep)))]
    beside = [f for f in files if f not in {*hidden} and os.path.dirname(f) == str(root)]
    others = [f for f in files if f not in {*hidden, *beside}]
    kinds = Counter(os.path.splitext(f)[1].lower() or "no suffix" for f in others)
    said = [
        f"{len(found)} {what} ({_examples(root, found)})"
        for found, what in (
            (beside, "beside the class folders"),
            (others, f"of kinds that Pillow does not read, {', '.join(sorted(kinds))}"),
            (hidden, "hidden or left by a system"),
        )
        if found
    ]
    count = "1 file is" if len(files) == 1 else f"{len(files)} files are"
    return [f"{count} left out: {'; '.join(said)}"]


def _examples(root: Path, files: Sequence[str]) -> str:
    named = ", ".join(os.path.relpath(file, root) for file in files[:EXAMPLES])
    return named + f" and {len(files) - EXAMPLES} more" * (len(files) > EXAMPLES)


def _empty_note(empty: Sequence[str]) -> list[str]:
    return [f"class folders without an image: {', '.join(empty)}"] if empty else []


def _parts_note(path: Path, classes: Sequence[str], parts: Sequence[str]) -> list[str]:
    if len(parts) < 2 and len(parts) < len(classes):
        return []
    named = ", ".join(map(repr, parts))
    return [
        f"the folders {named} are taken as classes, and their names are those of parts of a data "
        f"set; if they are, give one of them: {path / parts[0]}"
    ]


def _wanted(path: Path) -> str:
    there = sorted(entry.name for entry in os.scandir(path) if shown(entry))
    images = [name for name in there if os.path.splitext(name)[1].lower() in image_suffixes()]
    wanted = "data must be a folder with one sub-folder of images for each class"
    if {"dataset_info.json", "dataset_dict.json"} & {*there}:
        return f"{wanted}; for the data set that was saved there give hfdata:{path}"
    tables = [name for name in there if name.lower().endswith(TABLES)]
    advice = f"; for a table give it: {path / tables[0]}" if tables else ""
    if not there:
        return f"{wanted}; it is empty"
    listed = ", ".join(there[:EXAMPLES]) + ", ..." * (len(there) > EXAMPLES)
    return f"{wanted}; there are {len(there)} files ({listed}), {len(images)} of images{advice}"
