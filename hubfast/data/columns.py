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

# Names of lists of words, and of lists of their tags.
WORDS = ("tokens", "words", "sentence", "text")
TAGS = ("ner_tags", "tags", "ner", "pos_tags", "upos", "pos")

Kind = Literal["image", "text", "words", "tags", "other"]  # words and tags are lists


class ChosenColumns(NamedTuple):
    """Names of columns: of the samples and of the targets.

    There are no columns of samples, or one, or two of texts that are taken as pairs.
    """

    samples: tuple[str, ...]
    targets: tuple[str, ...]
    notes: tuple[str, ...] = ()
    words: bool = False  # the samples are the words in lists, and the targets their tags


def choose_columns(
    kinds: Mapping[str, Kind],
    sample: str | Sequence[str] | None,
    targets: str | Sequence[str] | None,
    labelled: Sequence[str] = (),
) -> ChosenColumns:
    """Chooses the columns asked for, or those that can be told.

    Samples are images before words before texts. A table has no samples where no column can hold
    any, or where the targets are asked for by name and the samples cannot be told.

    Args:
        kinds: What each column holds.
        sample: Name of the column of samples, or of two of texts, as the user gives it; None to
            find it.
        targets: Names of the columns of targets, as the user gives them; None to find one with a
            usual name, or of class labels.
        labelled: Columns that are declared to hold class labels.

    Raises:
        ValueError: There is no such column, or which is meant cannot be told; the message lists
            those that there are.
    """
    there, asked = list(kinds), _asked(sample)
    wanted, notes = _target_columns(kinds, targets, labelled)
    if unknown := [name for name in [*wanted, *asked] if name not in there]:
        raise ValueError(f"no column {unknown[0]!r}, there are {_listed(there)}")
    tagged = len(wanted) == 1 and kinds[wanted[0]] in ("words", "tags")
    if asked:
        _check_pair(asked, kinds)
        words = tagged and kinds[asked[0]] == "words"
        return ChosenColumns(asked, tuple(wanted), tuple(notes), words)
    if tagged and (of_words := _column_of_words(kinds, wanted)):
        return ChosenColumns((of_words,), tuple(wanted), tuple(notes), words=True)
    others = {name: kind for name, kind in kinds.items() if name not in {*wanted, *labelled}}
    chosen, doubt = _sample_column(others)
    if doubt and targets is None:
        raise ValueError(f"{doubt}; sample_column must say which, of {_listed(there)}")
    if chosen is None and others:
        why = f" ({doubt})" if doubt else ""
        notes.append(f"no column is taken as samples{why}, of {_listed(there)}")
    elif chosen is not None and kinds[chosen] == "text":
        unused = [name for name, kind in others.items() if kind == "text" and name != chosen]
        if unused or not _usual([chosen], TEXTS):
            notes.append(f"samples are the column {chosen!r}, of {_listed(there)}")
    return ChosenColumns(() if chosen is None else (chosen,), tuple(wanted), tuple(notes))


def _target_columns(
    kinds: Mapping[str, Kind], targets: str | Sequence[str] | None, labelled: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The columns of targets, and notes on that choice.

    Raises:
        ValueError: None is asked for, and none can be told.
    """
    if targets is not None:
        return [targets] if isinstance(targets, str) else list(targets), []
    there = list(kinds)
    usual = _usual(there, TARGETS) or [name for name in there if name in labelled]
    if not usual and "words" in kinds.values():
        usual = _usual([n for n, kind in kinds.items() if kind in ("words", "tags")], TAGS)
    if not usual:
        raise ValueError(f"target_columns must say which hold the targets, of {_listed(there)}")
    left = f"targets are the column {usual[0]!r}, not {_listed(usual[1:])}"
    return usual[:1], [left] if len(usual) > 1 else []


def _column_of_words(kinds: Mapping[str, Kind], wanted: Sequence[str]) -> str | None:
    """The column of lists of words; None where samples are something else."""
    others = {name: kind for name, kind in kinds.items() if name not in wanted}
    if "image" in others.values():
        return None
    lists = [name for name, kind in others.items() if kind == "words"]
    texts = any(kind == "text" and name.lower() not in ABOUT for name, kind in others.items())
    return next(iter(_usual(lists, WORDS) or ([] if texts else lists)), None)


def _asked(sample: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns of samples that are asked for.

    Raises:
        ValueError: They are more than two, or one twice.
    """
    if sample is None:
        return ()
    asked = (sample,) if isinstance(sample, str) else tuple(sample)
    if len(asked) > 2 or len({*asked}) < len(asked):
        raise ValueError(
            f"sample_column must be one column, or two of texts to take as pairs, got {list(asked)}"
        )
    return asked


def _check_pair(asked: Sequence[str], kinds: Mapping[str, Kind]) -> None:
    """Refuses two columns of samples that do not hold texts.

    Raises:
        ValueError: One of them holds images or lists.
    """
    odd = [name for name in asked if kinds[name] in ("image", "words", "tags")]
    if len(asked) > 1 and odd:
        raise ValueError(f"two sample columns must hold texts, {odd[0]!r} holds {kinds[odd[0]]}")


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
            f"there are {len(pairs)} columns of texts, {_listed(pairs)}: "
            "name one, or two for samples that are pairs"
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
