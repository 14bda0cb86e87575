"""What may stand for one sample of text: a text, a pair of texts, or a word in its sentence."""

from collections.abc import Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hubfast.data.labels import EncodedTargets, encoded, is_missing
from hubfast.scores.inputs import Task
from hubfast.utils.names import brief


class TextPair(NamedTuple):
    """Two texts that together are one sample, such as a premise and a hypothesis."""

    first: str
    second: str


class Word(NamedTuple):
    """A word of a sentence: a sample of its own, which models see with all of its sentence."""

    sentence: tuple[str, ...]
    position: int  # in the sentence

    @property
    def text(self) -> str:
        """The word itself."""
        return self.sentence[self.position]


def is_text(sample: Any) -> bool:
    """Whether a sample is of text: a string, a pair of them, or a word in its sentence."""
    return isinstance(sample, str | TextPair | Word)


def as_text(sample: Any) -> Any:
    """Gives two strings as a `TextPair`, and any other sample as it is."""
    two = isinstance(sample, list | tuple) and len(sample) == 2 and not isinstance(sample, Word)
    return TextPair(*sample) if two and all(isinstance(x, str) for x in sample) else sample


def pairs_of(first: Sequence[Any], second: Sequence[Any]) -> list[TextPair]:
    """Two columns of texts as pairs.

    Raises:
        TypeError: A value is no string.
    """
    return [checked_pair(a, b) for a, b in zip(first, second, strict=True)]


def checked_pair(first: Any, second: Any) -> TextPair:
    """Two values as a pair of texts.

    Raises:
        TypeError: One of them is no string.
    """
    if odd := [value for value in (first, second) if not isinstance(value, str)]:
        raise TypeError(f"a pair must be of two texts, got {brief(odd[0])}")
    return TextPair(first, second)


class Words(Sequence[Word]):
    """All words of sentences, in order, as samples.

    Attributes:
        clusters: The number of the sentence of each word, `(n,)` int64.
    """

    def __init__(self, sentences: Sequence[Sequence[str]]):
        self.sentences = [tuple(sentence) for sentence in sentences]
        lengths = np.array([len(sentence) for sentence in self.sentences], dtype=np.int64)
        self.clusters: Tensor = torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))
        self._starts = (np.cumsum(lengths) - lengths).tolist()

    def __len__(self) -> int:
        return len(self.clusters)

    def __getitem__(self, index: Any) -> Any:
        found = range(len(self))[index]
        if isinstance(found, range):
            return [self[i] for i in found]
        sentence = int(self.clusters[found])
        return Word(self.sentences[sentence], found - self._starts[sentence])

    def __repr__(self) -> str:
        return f"Words({len(self)} words of {len(self.sentences)} sentences)"


class WordNames(Sequence[str]):
    """What words are called in messages."""

    def __init__(self, words: Words, rows: Sequence[int] | None = None):
        self.words, self.rows = words, rows

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: Any) -> str:
        word: Word = self.words[index]
        sentence = int(self.words.clusters[index])
        row = sentence if self.rows is None else self.rows[sentence]
        return f"word {word.position} of sentence {row} ({brief(word.text)})"


def words_and_tags(
    sentences: Sequence[Any],
    tags: Sequence[Any],
    columns: tuple[str, str],
    task: Task | None,
    rows: Sequence[int] | None = None,
) -> tuple[Words, WordNames, EncodedTargets]:
    """The words of sentences with one tag for each.

    Args:
        sentences: Lists of words.
        tags: Lists of their tags, words or numbers.
        columns: What the two are called in messages.
        task: The task that the tags pose; None to tell it from them.
        rows: What people call each sentence; None for 0, 1, ...

    Returns:
        The words, what they are called, and their tags.

    Raises:
        ValueError, TypeError: A sentence is no list of words, or has not one tag for each of them.
    """
    if len(tags) != len(sentences):
        raise ValueError(
            f"{columns[1]!r} must be as many as {columns[0]!r}, got {len(tags)} for "
            f"{len(sentences)}"
        )
    called = range(len(sentences)) if rows is None else rows
    flat: list[Any] = []
    for row, sentence, own in zip(called, sentences, tags, strict=True):
        where = f"row {row} of {columns[0]!r}"
        if is_missing(sentence) or isinstance(sentence, str) or is_missing(own):
            raise ValueError(
                f"{where} must hold a list of words and one of tags, got {brief(sentence)}"
            )
        if odd := [word for word in sentence if not isinstance(word, str)]:
            raise TypeError(f"{where} must hold words, got {brief(odd[0])}")
        listed = isinstance(own, Sized) and not isinstance(own, str)
        if not listed or len(own) != len(sentence):
            count = f"{len(own)} tags" if listed else brief(own)
            raise ValueError(
                f"{where} must have one tag in {columns[1]!r} for each of its {len(sentence)} "
                f"words, got {count}"
            )
        flat += own
    words = Words(sentences)
    if not len(words):
        raise ValueError(f"{columns[0]!r} must hold words, got none")
    owners = [called[int(sentence)] for sentence in words.clusters]
    return words, WordNames(words, rows), encoded([flat], [columns[1]], task, owners)


def words_note(words: Words) -> str:
    """What a reader of results should know of word data."""
    filled = int((torch.bincount(words.clusters) > 0).sum())
    return f"samples are the {len(words)} words of {filled} sentences"
