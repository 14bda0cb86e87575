"""Which columns of a table hold the samples and the targets."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

IMAGES = ("image", "images", "img", "image_path", "path", "file", "file_name", "filename")
TEXTS = ("text", "sentence", "content", "review", "question", "document")
TARGETS = ("label", "labels", "target", "targets", "class", "category", "y")
# Names of texts of which only several together are a sample.
OF_PAIRS = {
    *("sentence1", "sentence2", "sentence_1", "sentence_2", "sentence_a", "sentence_b"),
    *("text1", "text2", "text_1", "text_2", "text_a", "text_b", "question1", "question2"),
    *("premise", "hypothesis", "question", "context", "passage", "answer", "query", "claim"),
    *("evidence", "prompt", "response", "summary", "anchor", "positive", "source", "reference"),
}
# Words that say something of a sample, and are none.
ABOUT = {
    *("id", "idx", "index", "uid", "uuid", "guid", "key", "hash", "name", "split", "fold", "set"),
    *("subset", "date", "time", "timestamp", "url", "link", "lang", "language", "author", "user"),
}
LISTED = 20  # columns in a message; more are counted

Kind = Literal["image", "text", "other"]


class ChosenColumns(NamedTuple):
    """Names of columns: of the samples, None where there are none, and of the targets."""

    sample: str | None
    targets: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_columns(
    kinds: Mapping[str, Kind],
    sample: str | None,
    targets: str | Sequence[str] | None,
    labelled: Sequence[str] = (),
) -> ChosenColumns:
    """Chooses the columns asked for, or those that can be told.

    Samples are images before texts. A table has no samples where no column can hold any, or where
    the targets are asked for by name and the samples cannot be told.

    Args:
        kinds: What each column holds.
        sample: Name of the column of samples, as the user gives it; None to find it.
        targets: Names of the columns of targets, as the user gives them; None to find one with a
            usual name, or of class labels.
        labelled: Columns that are declared to hold class labels.

    Raises:
        ValueError: There is no such column, or which is meant cannot be told; the message lists
            those that there are.
    """
    there = list(kinds)
    notes: list[str] = []
    if targets is None:
        usual = _usual(there, TARGETS) or [name for name in there if name in labelled]
        if not usual:
            raise ValueError(f"target_columns must say which hold the targets, of {_listed(there)}")
        wanted = usual[:1]
        if len(usual) > 1:
            notes.append(f"targets are the column {usual[0]!r}, not {_listed(usual[1:])}")
    else:
        wanted = [targets] if isinstance(targets, str) else list(targets)
    for name in [*wanted, *([] if sample is None else [sample])]:
        if name not in there:
            raise ValueError(f"no column {name!r}, there are {_listed(there)}")
    if sample is not None:
        return ChosenColumns(sample, tuple(wanted), tuple(notes))
    others = {name: kind for name, kind in kinds.items() if name not in {*wanted, *labelled}}
    found, doubt = _sample_column(others)
    if doubt and targets is None:
        raise ValueError(f"{doubt}; sample_column must say which, of {_listed(there)}")
    if found is None and others:
        why = f" ({doubt})" if doubt else ""
        notes.append(f"no column is taken as samples{why}, of {_listed(there)}")
    elif found is not None and kinds[found] == "text":
        unused = [name for name, kind in others.items() if kind == "text" and name != found]
        if unused or not _usual([found], TEXTS):
            notes.append(f"samples are the column {found!r}, of {_listed(there)}")
    return ChosenColumns(found, tuple(wanted), tuple(notes))


def _sample_column(kinds: Mapping[str, Kind]) -> tuple[str | None, str]:
    """The column of samples, or None and the doubt, empty where no column can hold any."""
    images = [name for name, kind in kinds.items() if kind == "image"]
    if images:
        named = _usual(images, IMAGES)
        if named or len(images) == 1:
            return (named or images)[0], ""
        return None, f"{len(images)} columns hold images, {_listed(images)}"
    texts = [name for name, kind in kinds.items() if kind == "text"]
    files = _usual(texts, IMAGES)
    texts = [name for name in texts if name not in files and name.lower() not in ABOUT]
    pairs = [n for n in texts if n.lower() in OF_PAIRS or n.lower() in TEXTS]
    usual = _usual(texts, TEXTS)
    if len(pairs) > 1:
        return None, (
            f"a sample is one text, and there are {len(pairs)} columns of texts, {_listed(pairs)}: "
            "take one, or join them in one column"
        )
    if usual or len(texts) == 1:
        return (usual or texts)[0], ""
    if texts:
        return None, f"no column of samples has a usual name, and texts are in {_listed(texts)}"
    if files:
        return None, f"{_listed(files)} names no files of images"
    return None, "" if not kinds else _only_about(kinds)


def _only_about(kinds: Mapping[str, Kind]) -> str:
    texts = [name for name, kind in kinds.items() if kind == "text"]
    return f"no column of samples has a usual name, and words are in {_listed(texts)}" * bool(texts)


def _usual(names: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The columns with a usual name, in the order of these names."""
    lower = {name.lower(): name for name in reversed(names)}
    return [lower[name] for name in usual if name in lower]


def _listed(names: Sequence[str]) -> str:
    names = list(names)
    return f"{names[:LISTED]}" + f" and {len(names) - LISTED} more" * (len(names) > LISTED)
