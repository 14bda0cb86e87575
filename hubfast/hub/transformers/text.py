"""transformers models over texts: every text gets the features that it has alone."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from hubfast.hub.memory import within_memory
from hubfast.hub.model import Batch, Extraction, SampleSequence, shape_error
from hubfast.hub.network import in_precision
from hubfast.hub.transformers.features import Outputs, classifies, text_features
from hubfast.hub.transformers.options import TextOptions
from hubfast.hub.transformers.pooling import SentenceHead
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.sentence import SentenceFormat
from hubfast.hub.transformers.tokenizers import (
    load_tokenizer,
    longest_text,
    lower,
    own_length,
    prompt_length,
    shortest_text,
)
from hubfast.hub.transformers.tokens import (
    FIXED_LENGTH,
    MAX_TOKENS,
    Ids,
    Tokens,
)
from hubfast.utils.stopwatch import Stopwatch

# Number of batches among whose texts a GPU looks for those of the same number of tokens.
LOOKAHEAD = 16
NO_TOKEN = -1
SHOWN = 3  # arguments that an error names


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """A model that reads texts, and its tokens.

    Texts of the same number of tokens share a forward pass, and no other do: since nothing is
    padded, neither the side of the padding, nor the token padded with, nor whether the model
    honours a mask can change a feature, and a classifier finds the token that it reads out.

    Args:
        model: The model.
        part: The part of the model that reads texts.
        tokens: Turns texts into what the part takes.
        head: What makes an embedding of the part's last hidden states, where the model has that.
    """

    model: nn.Module
    part: nn.Module
    tokens: Tokens
    head: SentenceHead | None = None

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields the features of all of `data`, in order."""
        self.model.eval().to(options.device)
        if self.head is not None:
            self.head.eval().to(options.device)
        step = options.batch_size * (1 if options.device == "cpu" else LOOKAHEAD)
        for start in range(0, len(data), step):
            begun = time.perf_counter()
            texts = [_text(data[i]) for i in range(start, min(start + step, len(data)))]
            with quiet():
                rows = self.tokens.of(texts, start)
                prepared = time.perf_counter() - begun
                with Stopwatch(options.device) as forward:
                    features, logits = self._features(rows, options)
            index = torch.arange(start, start + len(texts), device="cpu")
            yield Batch(index, features, logits, prepared, forward)

    def _features(self, rows: list[Ids], options: Extraction) -> Outputs:
        order: list[int] = []
        parts: list[Outputs] = []
        run = partial(text_features, self.model, self.part, head=self.head)
        for group in self._alike(rows, options.batch_size):
            names = rows[group[0]]
            columns = {key: [rows[i][key] for i in group] for key in names}
            inputs = {key: torch.tensor(ids, device=options.device) for key, ids in columns.items()}
            with torch.inference_mode(), in_precision(options):
                features, logits = within_memory(run, inputs)
            if features.ndim != 2 or len(features) != len(group):
                raise shape_error("features", f"({len(group)}, D) for {len(group)}", features)
            parts.append((features, logits))
            order += group
        given = [logits for _, logits in parts if logits is not None]
        features = torch.cat([features for features, _ in parts])
        back = torch.tensor(order, device=features.device).argsort()
        return features[back], torch.cat(given)[back] if len(given) == len(parts) else None

    def _alike(self, rows: list[Ids], most: int) -> Iterator[list[int]]:
        """Positions of texts with equal numbers of tokens, and of end tokens, as BART needs."""
        config: Any = self.model.config
        end: Any = getattr(config, "eos_token_id", None)
        groups: dict[tuple[int, int], list[int]] = {}
        for position, row in enumerate(rows):
            ids = row["input_ids"]
            groups.setdefault((len(ids), ids.count(end)), []).append(position)
        for group in groups.values():
            yield from (group[i : i + most] for i in range(0, len(group), most))


def text_network(
    name: str,
    model: nn.Module,
    trust: bool,
    options: TextOptions | None = None,
    sentence: SentenceFormat | None = None,
) -> TextNetwork:
    """Joins a model that reads texts with its tokenizer.

    Args:
        name: Its name on the Hugging Face hub, or its folder.
        model: The model.
        trust: Whether its tokenizer may run code of its own.
        options: How it reads texts; None for the usual way.
        sentence: What its files say if it is a model of sentence-transformers.

    Raises:
        TypeError: The model has no tokenizer, or takes no tokens.
        ValueError: It has no prompt of the name that is asked for.
    """
    wanted = TextOptions() if options is None else options
    tokenizer = load_tokenizer(name, trust, "" if sentence is None else sentence.folder)
    part, call = _reading_part(model)
    names = _arguments(call)
    if names is not None and "input_ids" not in names:
        raise TypeError(f"{name} takes {[*names][:SHOWN]}, no token ids, and the data gives text")
    config: Any = getattr(part, "config", model.config)
    text = getattr(config, "text_config", None) or config
    if classifies(model) and getattr(text, "pad_token_id", None) is None:
        # Without one decoders refuse batches; no token has this id, so that the last one counts.
        text.pad_token_id = NO_TOKEN
    prompt, most, head = prompt_of(name, wanted, sentence), MAX_TOKENS, None
    if sentence is not None:
        if sentence.lowers:
            lower(tokenizer)
        if sentence.longest is not None:
            tokenizer.model_max_length = sentence.longest
        most = own_length(tokenizer) or most
        head = sentence.head(prompt_length(tokenizer, prompt))
    tokens = Tokens(
        name=name,
        tokenizer=tokenizer,
        names=names,
        longest=longest_text(part, config, tokenizer, most),
        shortest=shortest_text(config),
        fixed=text.model_type in FIXED_LENGTH,
        prompt=prompt,
    )
    return TextNetwork(model, part, tokens, head)


def prompt_of(name: str, options: TextOptions, sentence: SentenceFormat | None) -> str:
    """What comes before each text.

    Args:
        name: Name of the model.
        options: How it reads texts.
        sentence: What its files say if it is a model of sentence-transformers.

    Raises:
        ValueError: It has no prompt of the name that is asked for.
    """
    if sentence is not None:
        return sentence.prompt(options)
    if options.prompt is not None:
        raise ValueError(f"{name} has no prompts by name; give prompt_text")
    return options.prompt_text or ""


def _reading_part(model: Any) -> tuple[nn.Module, Callable[..., Any]]:
    """The module that reads texts, and what of it is called."""
    if hasattr(model, "get_text_features"):
        return model, model.get_text_features
    if getattr(model.config, "is_encoder_decoder", False) and not classifies(model):
        model = model.get_encoder()
    return model, model.forward


def _arguments(call: Callable[..., Any]) -> tuple[str, ...] | None:
    """Names of the arguments of `call`; None where it hands on whatever it is given."""
    parameters = inspect.signature(call).parameters
    named = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not named:
        return None
    return tuple(parameters)


def _text(sample: Any) -> str:
    if isinstance(sample, str):
        return sample
    raise TypeError(f"this model reads text, the data gives {type(sample).__name__}")
