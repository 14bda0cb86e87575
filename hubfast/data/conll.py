"""Column files of words, as CoNLL's tasks have them: one word per line."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hubfast.data.delimited import decoded
from hubfast.data.target import TargetData
from hubfast.data.texts import words_and_tags, words_note
from hubfast.scores.inputs import Task, as_targets

SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio")
OF_UNIVERSAL = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"  # stands in a line of its own where a document begins
NAMED = 5  # lines in a message; more are counted


class Lines(NamedTuple):
    """The words of a file, each as the cells of its line, and the number of that line."""

    sentences: list[list[list[str]]]
    numbers: list[int]  # of the first line of each sentence
    names: tuple[str, ...]  # of the columns; numbers from 1 on where the file has none
    notes: tuple[str, ...]


def from_conll(
    path: Path,
    task: Task | None,
    name: str | None,
    sample_column: str | None,
    target_column: str | None,
) -> TargetData:
    """Reads words and their tags; the words of a sentence belong together.

    Args:
        path: The file.
        task: The task that the tags pose; None to tell it from them.
        name: The name shown in reports.
        sample_column: Number or name of the column of words; None for the first, or FORM.
        target_column: Number or name of the column of tags; None for the last, or UPOS.

    Raises:
        ValueError: The file has no words, its lines do not have the same columns, or there is no
            such column.
    """
    lines = _lines(path)
    usual = ("FORM", "UPOS") if "FORM" in lines.names else (lines.names[0], lines.names[-1])
    wanted = (sample_column or usual[0], target_column or usual[1])
    for column in wanted:
        if column not in lines.names:
            raise ValueError(f"no column {column!r} in {path}, there are {list(lines.names)}")
    if len({*wanted}) < 2:
        raise ValueError(f"{path} must have a column of words and one of tags, got {wanted[0]!r}")
    words, tags = (
        [[cells[lines.names.index(column)] for cells in sentence] for sentence in lines.sentences]
        for column in wanted
    )
    samples, names, labels = words_and_tags(words, tags, wanted, task, lines.numbers)
    targets, task = as_targets(labels.values, len(samples), task)
    notes = (*lines.notes, words_note(samples), _chosen(lines.names, wanted))
    title = name or path.stem
    return TargetData(title, samples, targets, task, labels.class_names, names=names, notes=notes)


def _chosen(names: Sequence[str], wanted: tuple[str, str]) -> str:
    return f"words are column {wanted[0]}, tags are column {wanted[1]}, of {len(names)}"


def _lines(path: Path) -> Lines:
    text, notes = decoded(path)
    universal = path.suffix.lower() == ".conllu"
    rows = [line.rstrip("\r") for line in text.split("\n")]
    tabs = any("\t" in row for row in rows if not row.startswith("#"))
    width = _width(rows, tabs)
    sentences: list[list[list[str]]] = [[]]
    numbers, wrong = [0], []
    for number, row in enumerate(rows, 1):
        cells = _cells(row, tabs)
        if not cells or cells[0] == DOCUMENT:
            if sentences[-1]:
                sentences.append([])
                numbers.append(0)
            continue
        if row.startswith("#") and (universal or len(cells) != width):
            continue
        if universal and not cells[0].isdigit():  # what several words are written as, or none is
            continue
        if len(cells) != width:
            wrong.append(number)
        numbers[-1] = numbers[-1] or number
        sentences[-1].append(cells)
    if wrong:
        more = f" and {len(wrong) - NAMED} more" * (len(wrong) > NAMED)
        raise ValueError(
            f"lines of {path} must have {width} columns, got others in lines {wrong[:NAMED]}{more}"
        )
    kept = [(s, n) for s, n in zip(sentences, numbers, strict=True) if s]
    if not kept:
        raise ValueError(f"{path} must hold words, got none")
    names = tuple(map(str, range(1, width + 1)))
    if universal and width == len(OF_UNIVERSAL):
        names = OF_UNIVERSAL
    return Lines([s for s, _ in kept], [n for _, n in kept], names, tuple(notes))


def _width(rows: Sequence[str], tabs: bool) -> int:
    """The number of columns that most lines have which are no comments."""
    counts = Counter(
        len(cells) for row in rows if not row.startswith("#") and (cells := _cells(row, tabs))
    )
    return counts.most_common(1)[0][0] if counts else 0


def _cells(row: str, tabs: bool) -> list[str]:
    if not row.strip():
        return []
    if tabs:
        return [cell.strip(" ") for cell in row.split("\t")]
    return [cell for cell in row.split(" ") if cell]  # other spaces may be part of a word
