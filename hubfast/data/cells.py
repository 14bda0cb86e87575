"""Cells of a text table as values: what is a number, what is a word, what is missing."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from hubfast.scores.inputs import Task

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
CODE = re.compile(r"0\d+")  # 007 is a name
NOT_A_NUMBER = {"nan", "+nan", "-nan"}
NO_VALUE = {"na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "?", "."}  # beside numbers
FLAGS = {"true": True, "false": False}
NAMED = 5  # rows named in a message; more are counted


class Values(NamedTuple):
    """Values of a column, None where one is missing, and what a reader should know of them."""

    values: list[str | int | float | bool | None]
    notes: tuple[str, ...] = ()


def typed(
    cells: Sequence[str], name: str, task: Task | None, rows: Sequence[int], separator: str = ","
) -> Values:
    """A column of targets: all numbers, all true or false, or all words.

    Words stay as they are written: `NA`, `null` and `None` are words like any other, and so are
    numbers where one has a leading zero, such as 007. A cell is missing where it is empty, and in
    a column of numbers where it says NaN.

    Args:
        cells: As they stand in the file.
        name: Name of the column.
        task: The task that the targets pose; None to tell it from them.
        rows: What people call each row.
        separator: Separator of the file; with `;` a comma may stand in a number for its point.

    Raises:
        ValueError: Words stand among numbers that do not read as classes.
    """
    texts = [cell.strip() for cell in cells]
    notes: list[str] = []
    filled = {text for text in texts if text}
    if separator == ";" and any(DECIMAL_COMMA.fullmatch(text) for text in filled):
        swapped = {text: text.replace(",", ".") for text in filled}
        if all(is_number(text) for text in swapped.values()):
            texts = [swapped.get(text, text) for text in texts]
            filled = {*swapped.values()}
            notes.append(f"commas in the numbers of {name!r} are taken as decimal points")
    numbers = {text for text in filled if NUMBER.fullmatch(text)}
    words = filled - numbers - {text for text in filled if text.lower() in NOT_A_NUMBER}
    if filled and all(text.lower() in FLAGS for text in filled):
        return Values([FLAGS.get(text.lower()) for text in texts])
    if numbers and not words and (task == "regression" or not any(map(_is_code, numbers))):
        whole = all(re.fullmatch(r"[+-]?\d+", text) for text in numbers)
        return Values([_number(text, whole) for text in texts], tuple(notes))
    if numbers and words:
        notes.append(_mixed(texts, name, task, rows, words))
    empty = "" if task == "multilabel" else None  # no label is a set of labels
    return Values([cell if cell.strip() else empty for cell in cells], tuple(notes))


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number, or as none."""
    return NUMBER.fullmatch(cell) is not None or cell.lower() in NOT_A_NUMBER


def _is_code(text: str) -> bool:
    return CODE.fullmatch(text) is not None or (len(text) > 18 and text.isdigit())


def _number(text: str, whole: bool) -> int | float | None:
    if not text or text.lower() in NOT_A_NUMBER:
        return None
    return int(text) if whole else float(text)


def _mixed(
    texts: Sequence[str], name: str, task: Task | None, rows: Sequence[int], words: set[str]
) -> str:
    """A note that a column of numbers and words is taken as words.

    Raises:
        ValueError: Its numbers are no classes, or its words say that there is no number.
    """
    where = [row for row, text in zip(rows, texts, strict=True) if text in words]
    shown = ", ".join(map(repr, sorted(words)[:NAMED])) + ", ..." * (len(words) > NAMED)
    found = f"{name!r} holds numbers and the words {shown}, in rows {where[:NAMED]}"
    found += f" and {len(where) - NAMED} more" * (len(where) > NAMED)
    fractions = any(NUMBER.fullmatch(t) and not re.fullmatch(r"[+-]?\d+", t) for t in texts)
    nothing = all(word.lower() in NO_VALUE for word in words)
    if task == "regression" or (task is None and (fractions or nothing)):
        raise ValueError(
            f"{found}; clear those cells and their rows, or say task='classification' to take all "
            "as names of classes"
        )
    return f"{found}: all are taken as names of classes"
