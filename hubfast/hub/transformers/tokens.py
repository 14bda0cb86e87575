"""Texts as the token ids that a transformers model takes, each text by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hubfast.hub.transformers.encoding import Columns, Shared, Text, TextEncoder

# Trained on texts of one length, whose last token, mostly padding, is what they read out.
FIXED_LENGTH = ("siglip", "siglip_text_model", "siglip2", "siglip2_text_model")
# What stands for a text without any token: what a text begins or ends with, else what there is.
STANDINS = (
    *("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"),
    *("pad_token_id", "unk_token_id"),
)

Ids = dict[str, list[int]]


class Rows(NamedTuple):
    """What a model is run on: a row for each text, or several windows of a long one."""

    ids: list[Ids]
    owners: list[int]  # position of the text of each row, ascending
    weights: list[int]  # tokens of each row


@dataclass(frozen=True, eq=False)
class Tokens:
    """What turns texts into token ids.

    No text is padded to the length of another, so that none depends on what it is run with.

    Args:
        name: Name of the model, for errors.
        encoder: Its tokenizer.
        names: Arguments that the model takes, such as `input_ids`; None for any.
        longest: Tokens at which a text is cut.
        shortest: Tokens up to which a text is padded, and masked, since the model takes no fewer.
        fixed: Whether every text is padded to `longest`, unmasked, as the model was trained.
        windows: Whether a longer text is read in windows of `longest` tokens, and not cut.
        counts: How many of the texts so far were cut or empty.
    """

    name: str
    encoder: TextEncoder
    names: tuple[str, ...] | None
    longest: int
    shortest: int = 1
    fixed: bool = False
    windows: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        return self.encoder.tokenizer

    @property
    def pads_left(self) -> bool:
        """Whether what is filled up to one length is filled in front."""
        return bool(self.fixed and self.tokenizer.padding_side == "left")

    @property
    def tally(self) -> dict[str, int]:
        """How many of the samples so far need a word, by that word."""
        longest, counts = self.longest, self.counts
        said = {
            f"texts cut at {longest} tokens": counts["cut"],
            f"texts read in windows of {longest} tokens": counts["windows"],
            "texts have no token; one stands for them": counts["empty"],
            f"words are of sentences of more than {longest} tokens, read in parts": counts["parts"],
            "words have no token; one stands for them": counts["blank"],
        }
        return {what: count for what, count in said.items() if count}

    def of(self, texts: Sequence[Text], first: int = 0) -> list[Ids]:
        """Gives for each text `input_ids` and what else the model takes, as lists of one length.

        Args:
            texts: Some of the data, all of them texts or all of them pairs; a pair is one row.
            first: Position of the first of them in the data, for errors.

        Raises:
            ValueError: A text has no token, and the tokenizer none to stand for it.
        """
        return [ids for row in self._each(texts, first, None, windows=False) for ids in row]

    def rows(self, texts: Sequence[Text], first: int = 0, shared: Shared | None = None) -> Rows:
        """What the model is run on for these texts; arguments and errors are those of `of`.

        Args:
            texts: Some of the data.
            first: Position of the first of them in the data.
            shared: Keeps what a tokenizer makes of these very texts for other models; None: not.
        """
        found = Rows([], [], [])
        for i, ids in enumerate(self._each(texts, first, shared, windows=self.windows)):
            found.ids.extend(ids)
            found.owners.extend([i] * len(ids))
            found.weights.extend(len(row["input_ids"]) for row in ids)
        return found

    def filled(self, columns: Columns) -> Ids:
        """What the model takes of what a tokenizer gives, padded where it must be."""
        names = [name for name in columns if self.names is None or name in self.names]
        row = {name: columns[name].tolist() for name in names}
        real = len(row["input_ids"])
        missing = max(0, (self.longest if self.fixed else self.shortest) - real)
        found = {}
        for key, values in row.items():
            padding = [self._padding() if key == "input_ids" else 0] * missing
            found[key] = padding + values if self.pads_left else values + padding
        if not self.fixed and (self.names is None or "attention_mask" in self.names):
            found["attention_mask"] = [1] * real + [0] * missing
        return found

    def _each(
        self, texts: Sequence[Text], first: int, shared: Shared | None, *, windows: bool
    ) -> list[list[Ids]]:
        """The rows of each text."""
        found = []
        encoded = self.encoder.all_of(texts, self.longest, shared)
        for position, (text, (columns, cut)) in enumerate(zip(texts, encoded, strict=True), first):
            length = len(columns["input_ids"])
            rows = [columns]
            if not length:
                self.counts["empty"] += 1
                rows = [self._standin(columns, position)]
            elif cut or length > self.longest:
                parted = windows and isinstance(text, str)
                self.counts["windows" if parted else "cut"] += 1
                if isinstance(text, str) and windows:
                    rows = self.encoder.windows(text, self.longest)
                else:
                    rows = self.encoder.cut([text], self.longest)
            found.append([self.filled(row) for row in rows])
        return found

    def _standin(self, columns: Columns, position: int) -> Columns:
        for standin in STANDINS:
            token = getattr(self.tokenizer, standin, None)
            if token is not None:
                one = {key: ids.copy() for key, ids in columns.items()}
                for key in one:
                    one[key].resize(1, refcheck=False)  # with zeros
                one["input_ids"][0] = token
                return one
        raise ValueError(
            f"text {position} is empty, and the tokenizer of {self.name} has no special token "
            "to stand for it"
        )

    def _padding(self) -> int:
        token: int | None = self.tokenizer.pad_token_id
        if token is None and self.fixed:
            raise ValueError(
                f"{self.name} takes texts of {self.longest} tokens, "
                "and its tokenizer has no token to pad them with"
            )
        return token or 0
