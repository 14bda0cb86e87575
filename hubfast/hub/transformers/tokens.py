"""Texts as the token ids that a transformers model takes, each text by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_TOKENS = 512
# Trained on texts of one length, whose last token, mostly padding, is what they read out.
FIXED_LENGTH = ("siglip", "siglip_text_model", "siglip2", "siglip2_text_model")
# What stands for a text without any token: what a text begins or ends with, else what there is.
STANDINS = (
    *("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"),
    *("pad_token_id", "unk_token_id"),
)

Ids = dict[str, list[int]]


@dataclass(frozen=True, eq=False)
class Tokens:
    """What turns texts into token ids.

    No text is padded to the length of another, so that none depends on what it is run with.

    Args:
        name: Name of the model, for errors.
        tokenizer: The tokenizer of transformers; nothing of it is changed.
        names: Arguments that the model takes, such as `input_ids`; None for any.
        longest: Tokens at which a text is cut.
        shortest: Tokens up to which a text is padded, and masked, since the model takes no fewer.
        fixed: Whether every text is padded to `longest`, unmasked, as the model was trained.
        prompt: What comes before each text.
        counts: How many of the texts so far were cut or empty.
    """

    name: str
    tokenizer: Any
    names: tuple[str, ...] | None
    longest: int
    shortest: int = 1
    fixed: bool = False
    prompt: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def tally(self) -> dict[str, int]:
        """How many of the texts so far need a word, by that word."""
        said = {
            f"texts cut at {self.longest} tokens": self.counts["cut"],
            "texts have no token; one stands for them": self.counts["empty"],
        }
        return {what: count for what, count in said.items() if count}

    def of(self, texts: Sequence[str], first: int = 0) -> list[Ids]:
        """Gives for each text `input_ids` and what else the model takes, as lists of one length.

        Args:
            texts: Some of the data.
            first: Position of the first of them in the data, for errors.

        Raises:
            ValueError: A text has no token, and the tokenizer none to stand for it.
        """
        texts = [self.prompt + text for text in texts]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.longest, padding=False)
        keys = [key for key in encoded if self.names is None or key in self.names]
        keys = [key for key in keys if key != "attention_mask"]
        rows: list[Ids] = []
        for i, text in enumerate(texts):
            row = {key: list(encoded[key][i]) for key in keys}
            empty = not row["input_ids"]
            self.counts["empty"] += empty
            self.counts["cut"] += len(row["input_ids"]) == self.longest and self._is_cut(text)
            rows.append(self._filled(self._standin(keys, first + i) if empty else row))
        return rows

    def _is_cut(self, text: str) -> bool:
        return len(self.tokenizer(text)["input_ids"]) > self.longest

    def _standin(self, keys: Sequence[str], position: int) -> Ids:
        for standin in STANDINS:
            token = getattr(self.tokenizer, standin, None)
            if token is not None:
                return {key: [token if key == "input_ids" else 0] for key in keys}
        raise ValueError(
            f"text {position} is empty, and the tokenizer of {self.name} has no special token "
            "to stand for it"
        )

    def _filled(self, row: Ids) -> Ids:
        real = len(row["input_ids"])
        missing = max(0, (self.longest if self.fixed else self.shortest) - real)
        left = self.fixed and self.tokenizer.padding_side == "left"
        filled = {}
        for key, values in row.items():
            padding = [self._padding() if key == "input_ids" else 0] * missing
            filled[key] = padding + values if left else values + padding
        if not self.fixed and (self.names is None or "attention_mask" in self.names):
            filled["attention_mask"] = [1] * real + [0] * missing
        return filled

    def _padding(self) -> int:
        token: int | None = self.tokenizer.pad_token_id
        if token is None and self.fixed:
            raise ValueError(
                f"{self.name} takes texts of {self.longest} tokens, "
                "and its tokenizer has no token to pad them with"
            )
        return token or 0
