"""Sentences as tokens of which it is known to which word each belongs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hubfast.hub.transformers.encoding import Columns, Shared, columns_of
from hubfast.hub.transformers.tokens import Ids, Tokens

STANDINS = ("unk_token", "mask_token", "pad_token", "eos_token", "bos_token")
Sentence = tuple[str, ...]
Span = tuple[int, int]  # from and up to which token or character


class WordRow(NamedTuple):
    """A sentence, or a part of a long one, as a model takes it."""

    ids: Ids
    spans: list[Span]  # tokens of each of its words


class EncodedSentence(NamedTuple):
    """A sentence as a tokenizer gives it, whole."""

    columns: Columns
    spans: list[Span]  # tokens of each word; from and up to the same where it has none

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(column.nbytes for column in self.columns.values()) + 16 * len(self.spans)


@dataclass(frozen=True, eq=False)
class WordTokens:
    """What turns sentences into tokens of which it is known whose they are.

    The words of a sentence are joined by spaces and read as a text, as the model was trained to.

    Args:
        tokens: What turns texts into token ids.
    """

    tokens: Tokens

    def rows(self, sentences: Sequence[Sentence], shared: Shared | None) -> list[list[WordRow]]:
        """The rows of each sentence; several where it has more tokens than the model takes.

        Args:
            sentences: The sentences.
            shared: Keeps what a tokenizer makes of these very sentences for other models.

        Raises:
            ValueError: A word has no token, and the tokenizer none to stand for it.
            TypeError: The tokenizer does not tell which tokens belong to which word.
        """
        key = self.tokens.encoder.key
        if shared is None or key is None:
            encoded = self._encoded(sentences)
        else:
            encoded = shared(("words", key), lambda: self._encoded(sentences))
        return [self._parts(s, each) for s, each in zip(sentences, encoded, strict=True)]

    def _parts(self, words: Sentence, encoded: EncodedSentence) -> list[WordRow]:
        if any(start == stop for start, stop in encoded.spans):
            words = self._with_standins(words, encoded.spans)
            (encoded,) = self._encoded([words])
            if any(start == stop for start, stop in encoded.spans):
                raise ValueError(f"{self.tokens.name} has no token that stands for a word")
        (columns, spans), longest = encoded, self.tokens.longest
        over = len(columns["input_ids"]) - longest
        if over > 0 and len(words) > 1:
            halves = words[: len(words) // 2], words[len(words) // 2 :]
            return [row for half in halves for row in self._parts(half, *self._encoded([half]))]
        if over > 0:
            cut = self.tokens.tokenizer(words[0], truncation=True, max_length=longest)
            columns, spans = columns_of(cut), [(spans[0][0], spans[0][1] - over)]
        ids = self.tokens.filled(columns)
        left = len(ids["input_ids"]) - len(columns["input_ids"]) if self.tokens.pads_left else 0
        return [WordRow(ids, [(start + left, stop + left) for start, stop in spans])]

    def _encoded(self, sentences: Sequence[Sentence]) -> list[EncodedSentence]:
        tokenizer = self.tokens.tokenizer
        if not tokenizer.is_fast:
            return [self._word_by_word(words) for words in sentences]
        texts = [" ".join(words) for words in sentences]
        made = tokenizer(texts, truncation=False, return_offsets_mapping=True)
        places = made.pop("offset_mapping")
        return [
            EncodedSentence(
                columns_of({name: made[name][i] for name in made}), _spans(words, places[i])
            )
            for i, words in enumerate(sentences)
        ]

    def _word_by_word(self, words: Sentence) -> EncodedSentence:
        """Of a tokenizer that gives no places: where words alone have the tokens of the whole."""
        tokenizer = self.tokens.tokenizer
        made = tokenizer(" ".join(words))
        texts = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
        own = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        body, whole = [token for ids in own for token in ids], made["input_ids"]
        starts = [i for i in range(len(whole)) if whole[i : i + len(body)] == body]
        if not starts:
            raise TypeError(
                f"the tokenizer of {self.tokens.name}, {type(tokenizer).__name__}, does not tell "
                "which tokens belong to which word"
            )
        stops = np.cumsum([starts[0], *map(len, own)]).tolist()
        return EncodedSentence(columns_of(made), list(pairwise(stops)))

    def _with_standins(self, words: Sentence, spans: Sequence[Span]) -> Sentence:
        """The words, those without a token replaced by one that stands for them."""
        blank = [i for i, (start, stop) in enumerate(spans) if start == stop]
        self.tokens.counts["blank"] += len(blank)
        for name in STANDINS:
            token = getattr(self.tokens.tokenizer, name, None)
            if token is not None:
                return tuple(str(token) if i in {*blank} else w for i, w in enumerate(words))
        raise ValueError(
            f"the word {words[blank[0]]!r} has no token, and the tokenizer of {self.tokens.name} "
            "none to stand for it"
        )


def _spans(words: Sequence[str], offsets: Sequence[Span]) -> list[Span]:
    """The tokens of each word.

    Args:
        words: The words that are joined by spaces.
        offsets: From and up to which character each token stands for, nothing for special ones.
    """
    stops = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = stops - [len(word) for word in words]
    spans = []
    places = np.array(offsets).reshape(-1, 2)
    real = places[:, 1] > places[:, 0]
    for start, stop in zip(starts, stops, strict=True):
        touching = np.flatnonzero(real & (places[:, 0] < stop) & (places[:, 1] > start))
        spans.append((int(touching[0]), int(touching[-1]) + 1) if len(touching) else (0, 0))
    return spans
