"""What a tokenizer makes of texts, once for all models that share it."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hubfast.data.texts import TextPair

Text = str | TextPair
Columns = dict[str, np.ndarray]  # `input_ids` and others, (tokens,) int32 each
Shared = Callable[[Hashable, Callable[[], Any]], Any]  # see `hubfast.data.block.Block.shared`
USED = 512  # tokens of a text that models use at most, unless their files say more


class Encoded(NamedTuple):
    """One text as a tokenizer gives it."""

    columns: Columns
    cut: bool  # whether the text has more tokens

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(column.nbytes for column in self.columns.values())


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A tokenizer, and what comes before each text.

    Args:
        tokenizer: The tokenizer of transformers.
        prompt: What comes before each text, before the first of a pair.
        key: What tells this tokenizer from others that encode in another way; None if unknown.
    """

    tokenizer: Any
    prompt: str = ""
    key: Hashable = None

    def all_of(self, texts: Sequence[Text], longest: int, shared: Shared | None) -> list[Encoded]:
        """Encodes texts, each cut at `longest` tokens or at more.

        Args:
            texts: Some of the data, all of them texts or all of them pairs.
            longest: Tokens that the model takes.
            shared: Keeps what is made of these very texts; None for nothing.
        """
        most = max(USED, longest)
        if shared is None or self.key is None:
            return self._made(texts, most)
        found: list[Encoded] = shared(
            ("tokens", self.key, self.prompt, most), lambda: self._made(texts, most)
        )
        return found

    def cut(self, texts: Sequence[Text], longest: int) -> list[Columns]:
        """Encodes texts, each cut at `longest` tokens, the longer one of a pair first."""
        made = self.tokenizer(*self._given(texts), truncation=True, max_length=longest)
        return [columns_of({name: made[name][i] for name in made}) for i in range(len(texts))]

    def windows(self, text: str, longest: int) -> list[Columns]:
        """Encodes a text in windows of at most `longest` tokens, each with its special tokens."""
        tokenizer, text = self.tokenizer, self.prompt + text
        size = longest - int(tokenizer.num_special_tokens_to_add())
        if not tokenizer.is_fast:
            body = tokenizer(text, add_special_tokens=False)["input_ids"]
            starts = range(0, len(body), size)
            return [columns_of(tokenizer.prepare_for_model(body[i : i + size])) for i in starts]
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        whole = backend.encode(text, add_special_tokens=False)
        whole.truncate(size)
        parts = [backend.post_process(part, None, True) for part in (whole, *whole.overflowing)]
        names = {"input_ids": "ids", "token_type_ids": "type_ids"}
        given = {name: names[name] for name in names if name in tokenizer.model_input_names}
        return [columns_of({n: getattr(part, key) for n, key in given.items()}) for part in parts]

    def length(self, text: Text) -> int:
        """Tokens of a whole text."""
        return len(self.tokenizer(*(part[0] for part in self._given([text])))["input_ids"])

    def _made(self, texts: Sequence[Text], most: int) -> list[Encoded]:
        rows = self.cut(texts, most)
        full = [len(row["input_ids"]) >= most for row in rows]
        return [
            Encoded(row, at_end and self.length(text) > most)
            for row, at_end, text in zip(rows, full, texts, strict=True)
        ]

    def _given(self, texts: Sequence[Text]) -> tuple[list[str], ...]:
        """The arguments of the tokenizer: texts, or the first and the second of each pair."""
        if not texts or isinstance(texts[0], str):
            return ([self.prompt + str(text) for text in texts],)
        pairs = [text for text in texts if isinstance(text, TextPair)]
        between = "" if self._marks_pairs else "\n"
        firsts = [self.prompt + pair.first for pair in pairs]
        return firsts, [between + pair.second for pair in pairs]

    @cached_property
    def _marks_pairs(self) -> bool:
        """Whether it puts a token between two texts: else a line break comes between them."""
        alone = self.tokenizer.num_special_tokens_to_add()
        return bool(self.tokenizer.num_special_tokens_to_add(pair=True) > alone)


def columns_of(made: Mapping[str, Any]) -> Columns:
    """The columns of one text of what a tokenizer gives, without its mask."""
    names = [name for name in made if name != "attention_mask"]
    return {name: np.array(made[name], dtype=np.int32) for name in names}


def tokenizer_key(tokenizer: Any) -> Hashable:
    """What is equal for tokenizers that encode every text in one way; None where that is unknown.

    It is of what a tokenizer holds and not of its files' names, so that models share it wherever
    they are. Only those that are not written in Python can be told.
    """
    if not tokenizer.is_fast:
        return None
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # both are set anew at each call
    backend.no_padding()
    content = hashlib.sha256(backend.to_str().encode()).hexdigest()
    names = tuple(tokenizer.model_input_names)
    return type(tokenizer).__name__, content, tokenizer.truncation_side, names
