"""Tokenizers of transformers: loading them, and how long texts may be."""

from typing import Any

from torch import nn

from hubfast.hub.transformers.quiet import quiet

WITHOUT_LIMIT = 10**9  # tokens; a tokenizer that knows no limit has 1e30
# Where the families keep the number of positions that they have; XLNet's is -1, for any number.
LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_encoder_position_embeddings"),
    *("max_seq_len", "max_seq_length", "max_sequence_length", "n_ctx"),
)


def load_tokenizer(name: str, trust: bool, folder: str = "") -> Any:
    """The tokenizer of a model.

    Args:
        name: Its name on the Hugging Face hub, or its folder.
        trust: Whether the tokenizer may run code of its own.
        folder: The folder in the model's where the tokenizer is; empty for the model's own.

    Raises:
        TypeError: There is no tokenizer. transformers itself then makes one without any word.
    """
    import transformers  # slow to import

    refused = f"{name} has no tokenizer, and the data gives text"
    with quiet():
        try:
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                name, trust_remote_code=trust, **({"subfolder": folder} if folder else {})
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


def longest_text(part: nn.Module, config: Any, tokenizer: Any, most: int) -> int:
    """Tokens that a model takes, at most `most`.

    Args:
        part: The module that reads texts.
        config: Configuration of the model, or one that holds it as `text_config`.
        tokenizer: Tokenizer of the model, whose own limit may be 1e30 where it knows none.
        most: The number of tokens that is asked for at most.
    """
    text = getattr(config, "text_config", None) or config
    limits = [getattr(text, key, None) for key in LENGTHS]
    limits += [tokenizer.model_max_length, *_behind_padding(part)]
    return int(min([most, *(n for n in limits if isinstance(n, int | float) and n > 0)]))


def own_length(tokenizer: Any) -> int | None:
    """Tokens at which a tokenizer cuts texts by itself; None where it does not."""
    length = tokenizer.model_max_length
    return int(length) if 0 < length < WITHOUT_LIMIT else None


def lower(tokenizer: Any) -> None:
    """Has a tokenizer make letters small before anything else, as sentence-transformers does.

    Raises:
        TypeError: It is written in Python, and so has no such step.
    """
    from tokenizers import normalizers

    if not tokenizer.is_fast:
        raise TypeError(f"{type(tokenizer).__name__} cannot be told to make letters small")
    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def prompt_length(tokenizer: Any, prompt: str) -> int:
    """Tokens of a prompt with what begins a text, and without what ends one."""
    if not prompt:
        return 0
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)


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
