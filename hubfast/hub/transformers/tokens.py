"""Texts as the token ids that a transformers model takes, each text by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from hubfast.hub.transformers.quiet import quiet

MAX_TOKENS = 512
# Where the families keep the number of positions that they have; XLNet's is -1, for any number.
LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_encoder_position_embeddings"),
    *("max_seq_len", "max_seq_length", "max_sequence_length", "n_ctx"),
)
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
        counts: How many of the texts so far were cut or empty.
    """

    name: str
    tokenizer: Any
    names: tuple[str, ...] | None
    longest: int
    shortest: int = 1
    fixed: bool = False
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
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=self.longest, padding=False
        )
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


def load_tokenizer(name: str, trust: bool) -> Any:
    """The tokenizer of a model's name or folder.

    Raises:
        TypeError: There is no tokenizer. transformers itself then makes one without any word.
    """
    import transformers  # slow to import

    refused = f"{name} has no tokenizer, and the data gives text"
    with quiet():
        try:
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                name, trust_remote_code=trust
            )
        except Exception as error:  # the classes of the families raise of every kind
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TypeError(f"{refused}; loading it failed: {reason}") from error
    if _has_no_words(tokenizer):
        raise TypeError(f"{refused}; its folder holds no vocabulary, such as tokenizer.json")
    return tokenizer


def _has_no_words(tokenizer: Any) -> bool:
    """Whether it has no file of words and needs one, which those of bytes and characters do not."""
    if not tokenizer.vocab_files_names:
        return False
    words = tokenizer.get_vocab().keys() - {*tokenizer.all_special_tokens}
    return len(words) < 2  # some families add one of their own, for spaces


def longest_text(part: nn.Module, config: Any, tokenizer: Any) -> int:
    """Tokens that a model takes, at most `MAX_TOKENS`.

    Args:
        part: The module that reads texts.
        config: Configuration of the model, or one that holds it as `text_config`.
        tokenizer: Tokenizer of the model, whose own limit may be 1e30 where it knows none.
    """
    text = getattr(config, "text_config", None) or config
    limits = [getattr(text, key, None) for key in LENGTHS]
    limits += [tokenizer.model_max_length, *_behind_padding(part)]
    return int(min([MAX_TOKENS, *(n for n in limits if isinstance(n, int | float) and n > 0)]))


def shortest_text(config: Any) -> int:
    """Tokens that a model takes at least: CANINE and Funnel put neighbours together."""
    if config.model_type == "funnel":
        return 2 ** (len(config.block_sizes) - 1) + 1
    return int(config.downsampling_rate) if config.model_type == "canine" else 1


def _behind_padding(part: nn.Module) -> list[int]:
    """Positions of tables that count from behind the padding's row, as RoBERTa's family has."""
    rows = {
        (len(table.weight), table.padding_idx)
        for name, table in part.named_modules()
        if "position" in name.rpartition(".")[2] and isinstance(table, nn.Embedding)
    }
    return [count - padding - 1 for count, padding in rows if padding is not None]
