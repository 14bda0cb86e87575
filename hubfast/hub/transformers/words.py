"""Features of the words of sentences: those of their tokens in a model's last hidden states."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubfast.data.texts import Word
from hubfast.hub.transformers.features import last_hidden
from hubfast.hub.transformers.groups import Pass, run_groups
from hubfast.hub.transformers.options import OfWords
from hubfast.hub.transformers.tokens import Tokens
from hubfast.hub.transformers.word_tokens import Sentence, WordTokens


@dataclass(frozen=True, eq=False)
class WordNetwork:
    """A model that reads sentences, for the features of their words.

    Args:
        part: The part of the model that gives the states of tokens.
        tokens: Turns texts into what the part takes.
        how: Which tokens of a word give its features.
    """

    part: nn.Module
    tokens: Tokens
    how: OfWords

    def features(self, words: Sequence[Word], end: int | None, once: Pass) -> Tensor:
        """The features of words, `(words, D)` float32, those of one sentence from one pass over it.

        Args:
            words: The words.
            end: The token that ends a text; None for none.
            once: The pass over them.
        """
        sentences, owners = sentences_of(words)
        with once.prepare:
            parts = WordTokens(self.tokens).rows(sentences, once.shared)
        self.tokens.counts["parts"] += sum(len(parts[owner]) > 1 for owner in owners)
        rows = [row for of_sentence in parts for row in of_sentence]
        starts = np.cumsum([0, *(sum(len(r.spans) for r in one) for one in parts)])
        firsts = np.cumsum([0, *(len(row.spans) for row in rows)])  # number of each first word
        order: list[int] = []
        found: list[Tensor] = []
        run = partial(token_states, self.part)
        with once.forward:
            for group, (hidden, _) in run_groups([r.ids for r in rows], run, end, once.options):
                spans = [(i, *span) for i, row in enumerate(group) for span in rows[row].spans]
                found.append(word_features(hidden, spans, self.how))
                order += [n for row in group for n in range(firsts[row], firsts[row + 1])]
            features = torch.cat(found)
            back = torch.tensor(order, device=features.device).argsort()
            wanted = [int(starts[o]) + w.position for o, w in zip(owners, words, strict=True)]
            return features[back[torch.tensor(wanted, device=features.device)]]


def sentences_of(words: Sequence[Word]) -> tuple[list[Sentence], list[int]]:
    """The different sentences of some words, and the number of that of each word."""
    numbers: dict[Sentence, int] = {}
    owners = [numbers.setdefault(word.sentence, len(numbers)) for word in words]
    return [*numbers], owners


def word_features(hidden: Tensor, spans: Sequence[tuple[int, int, int]], how: OfWords) -> Tensor:
    """The features of words, `(words, D)` float32.

    Args:
        hidden: Last hidden states, `(b, tokens, D)`.
        spans: The row of each word, and its tokens from and up to.
        how: Which of its tokens counts, or the mean of all.
    """
    rows, starts, stops = torch.tensor(spans, device=hidden.device).T
    if how == "first":
        return hidden[rows, starts].float()
    if how == "last":
        return hidden[rows, stops - 1].float()
    so_far = hidden.double().cumsum(1)
    sums = so_far[rows, stops - 1] - so_far[rows, starts] + hidden[rows, starts]
    return (sums / (stops - starts)[:, None]).float()


def token_states(part: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, None]:
    """The last hidden states `(b, tokens, D)` of the tokens of some rows.

    Raises:
        TypeError: The model gives another number of states than it takes tokens.
    """
    out = part(**inputs)
    hidden = out[0] if isinstance(out, tuple) else last_hidden(out)  # DPR's part gives a tuple
    tokens = inputs["input_ids"].shape[1]
    if hidden.ndim != 3 or hidden.shape[1] != tokens:
        raise TypeError(
            f"a model of words must give a state for each of {tokens} tokens, got shape "
            f"{tuple(hidden.shape)}"
        )
    return hidden, None


def token_part(model: nn.Module, name: str) -> nn.Module:
    """That part of a model which gives the states of tokens: no classifier, no decoder of it.

    Raises:
        TypeError: There is none.
    """
    found: Any = getattr(model, getattr(model, "base_model_prefix", "") or "", model)
    if hasattr(found, "get_text_features"):
        found = getattr(found, "text_model", None)
    elif getattr(found.config, "is_encoder_decoder", False):
        found = found.get_encoder()
    if not isinstance(found, nn.Module):
        raise TypeError(f"{name} gives no states of tokens, and the data gives words")
    return found
