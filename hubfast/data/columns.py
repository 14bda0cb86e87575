"""Which columns of a table hold the samples and the targets."""

from collections.abc import Sequence
from typing import NamedTuple

IMAGES = ("image", "images", "img", "image_path", "path", "file", "file_name", "filename")
TEXTS = ("text", "sentence", "content", "review", "question", "document")
TARGETS = ("label", "labels", "target", "targets", "class", "category", "y")


class Columns(NamedTuple):
    """Names of columns: of the samples, None where there are none, and of the targets."""

    sample: str | None
    targets: tuple[str, ...]


def choose_columns(
    there: Sequence[str], sample: str | None, targets: str | Sequence[str] | None
) -> Columns:
    """The columns asked for, or those with the usual names.

    Args:
        there: All columns.
        sample, targets: As the user says, None to find them.

    Raises:
        ValueError: There is no such column; the message lists those that there are.
    """
    lower = {name.lower(): name for name in reversed(there)}
    if targets is None:
        wanted = next(([lower[name]] for name in TARGETS if name in lower), None)
        if wanted is None:
            raise ValueError(f"target_columns must say which hold the targets, of {list(there)}")
    else:
        wanted = [targets] if isinstance(targets, str) else list(targets)
    if sample is None:
        sample = next((lower[name] for name in (*IMAGES, *TEXTS) if name in lower), None)
    for name in [*wanted, *([] if sample is None else [sample])]:
        if name not in there:
            raise ValueError(f"no column {name!r}, there are {list(there)}")
    return Columns(sample, tuple(wanted))
