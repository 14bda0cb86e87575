"""What a user says of a model that reads texts: `hf:NAME?prompt=query&long_texts=windows`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args
from urllib.parse import parse_qsl

from hubfast.utils.names import brief

LongTexts = Literal["cut", "windows"]
OfWords = Literal["first", "last", "mean"]
BEGINS = re.compile(r"\?(?=\w+=)")  # no pattern of files goes on like this


@dataclass(frozen=True)
class TextOptions:
    """How a model reads texts.

    Args:
        prompt: Name of one of its own prompts, which comes before each text; None for its default.
        prompt_text: A prompt itself, empty for none; None for one of the model's own.
        long_texts: A text of more tokens than the model takes is cut, or read in windows, whose
            features are averaged.
        words: Which of the tokens of a word gives its features, or the mean of all.

    Raises:
        ValueError, TypeError: A value is none of these, or there are two prompts.
    """

    prompt: str | None = None
    prompt_text: str | None = None
    long_texts: LongTexts = "cut"
    words: OfWords = "first"

    def __post_init__(self) -> None:
        for name in ("prompt", "prompt_text"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be text, got {brief(value)}")
        for name, known in (("long_texts", LongTexts), ("words", OfWords)):
            if getattr(self, name) not in get_args(known):
                value = brief(getattr(self, name))
                raise ValueError(f"{name} must be one of {get_args(known)}, got {value}")
        if self.prompt is not None and self.prompt_text is not None:
            raise ValueError("a model takes one prompt, got prompt and prompt_text")

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> "TextOptions":
        """The options in a name, and those of the `arguments` of a hub file.

        Args:
            name: The name of a model, as it stands behind `hf:`.
            arguments: More options, by their names.

        Raises:
            ValueError, TypeError: An option is not known, given twice, or has no such value.
        """
        written = split_options(name)[1]
        try:
            pairs = parse_qsl(written, keep_blank_values=True, strict_parsing=bool(written))
        except ValueError as error:
            raise ValueError(f"options must be like prompt=query, got {brief(written)}") from error
        given = [*pairs, *arguments.items()]
        names = [key for key, _ in given]
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in names if key not in known]:
            raise ValueError(f"options of hf:{brief(name)} may be {known}, got {brief(unknown)}")
        if twice := [key for key in names if names.count(key) > 1]:
            raise ValueError(f"each option must be given once, got {twice[0]!r} twice")
        return cls(**cast(Any, dict(given)))


def split_options(name: str) -> tuple[str, str]:
    """The name of a model without its options, and these as they are written."""
    begins = BEGINS.search(name)
    if begins is None:
        return name, ""
    return name[: begins.start()], name[begins.end() :]
