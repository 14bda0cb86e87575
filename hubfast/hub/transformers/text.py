"""transformers models over texts: every text gets the features that it has alone."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.data.block import Block
from hubfast.data.texts import TextPair, Word, is_text
from hubfast.hub.model import Batch, Extraction, SampleSequence, shape_error
from hubfast.hub.points import PointsError
from hubfast.hub.taps import Run, Taps
from hubfast.hub.transformers.encoding import USED, TextEncoder, tokenizer_key
from hubfast.hub.transformers.features import Outputs, classifies, text_features
from hubfast.hub.transformers.groups import Pass, run_groups
from hubfast.hub.transformers.layers import text_layers
from hubfast.hub.transformers.options import OfWords, TextOptions
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
from hubfast.hub.transformers.tokens import FIXED_LENGTH, Ids, Rows, Tokens
from hubfast.hub.transformers.words import WordNetwork, token_part
from hubfast.utils.stopwatch import Stopwatch

AMONG = 1024  # texts among which those of the same number of tokens are looked for, by length
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
        words: Which tokens of a word give its features.
    """

    model: nn.Module
    part: nn.Module
    tokens: Tokens
    head: SentenceHead | None = None
    words: OfWords = "first"

    @property
    def own_pooling(self) -> str:
        """How the model itself makes features of its tokens: cls, max, last, or else mean."""
        modes = () if self.head is None else self.head.modes
        names = {"cls": "cls", "max": "max", "lasttoken": "last"}
        return names.get(modes[0], "mean") if len(modes) == 1 else "mean"

    @property
    def embeds(self) -> bool:
        """Whether it was trained to embed each text by itself, so that it takes no pairs."""
        return self.head is not None or hasattr(self.model, "get_text_features")

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields the features of all of `data`, in order."""
        self.model.eval().to(options.device)
        if self.head is not None:
            self.head.eval().to(options.device)
        taps = self._taps(options)
        block = data if isinstance(data, Block) else None
        step = max(options.batch_size, AMONG, 0 if block is None else len(block))
        for start in range(0, len(data), step):
            shared = None if block is None else block.shared
            once = Pass(options, shared, Stopwatch("cpu"), Stopwatch(options.device), taps)
            with once.prepare:
                samples = [_checked(data[i]) for i in range(start, min(start + step, len(data)))]
            with quiet():
                features, logits = self._of(samples, start, once)
            index = torch.arange(start, start + len(samples), device="cpu")
            columns = None if taps is None else taps.columns
            yield Batch(index, features, logits, once.prepare.seconds, once.forward, columns)

    def _taps(self, options: Extraction) -> Taps | None:
        """What gives the points that are asked for; None where they are the usual one."""
        if options.points.default:
            return None
        return Taps(options.points, text_layers(self.model, self.part, self.own_pooling))

    def _of(self, samples: list[Any], start: int, once: Pass) -> Outputs:
        if isinstance(samples[0], Word):
            part = token_part(self.model, self.tokens.name)
            network = WordNetwork(part, self.tokens, self.words)
            return network.features(samples, self._end, once), None
        if not (self.embeds and isinstance(samples[0], TextPair)):
            return self._of_texts(samples, start, once)
        if once.taps is not None:
            raise PointsError(f"{once.options.points}: not for pairs of texts embedded one by one")
        first, second = (
            self._of_texts([pair[side] for pair in samples], start, once.of_side(side))[0]
            for side in (0, 1)
        )
        return torch.cat([first, second, (first - second).abs()], 1), None

    def _of_texts(self, texts: list[Any], start: int, once: Pass) -> Outputs:
        with once.prepare:
            rows = self.tokens.rows(texts, start, once.shared)
        with once.forward:
            features, logits = self._features(rows.ids, once)
            if len(rows.ids) > len(texts):
                features = averaged_rows(features, rows)
                logits = None if logits is None else averaged_rows(logits, rows)
        return features, logits

    def _features(self, rows: list[Ids], once: Pass) -> Outputs:
        """Features, one row for each of `rows`, and logits."""
        order: list[int] = []
        parts: list[Outputs] = []
        run: Run = partial(text_features, self.model, self.part, head=self.head)
        run = run if once.taps is None else once.taps.around(run)
        for group, (features, logits) in run_groups(rows, run, self._end, once.options):
            if features.ndim != 2 or len(features) != len(group):
                raise shape_error("features", f"({len(group)}, D) for {len(group)}", features)
            parts.append((features, logits))
            order += group
        given = [logits for _, logits in parts if logits is not None]
        features = torch.cat([features for features, _ in parts])
        back = torch.tensor(order, device=features.device).argsort()
        return features[back], torch.cat(given)[back] if len(given) == len(parts) else None

    @property
    def _end(self) -> int | None:
        config: Any = self.model.config
        end = getattr(config, "eos_token_id", None)
        return end if isinstance(end, int) else None


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
        ValueError: It has no prompt of the name that is asked for, or one that is not pooled, and
            long texts are read in windows.
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
    prompt, most, head = prompt_of(name, wanted, sentence), USED, None
    if sentence is not None:
        head = _prepared(sentence, tokenizer, prompt)
        most = own_length(tokenizer) or most
    windows = wanted.long_texts == "windows"
    if windows and head is not None and head.skipped:
        raise ValueError(f"{name} does not pool its prompt: say long_texts=cut, or prompt_text=")
    tokens = Tokens(
        name=name,
        encoder=TextEncoder(tokenizer, prompt, tokenizer_key(tokenizer)),
        names=names,
        longest=longest_text(part, config, tokenizer, most),
        shortest=shortest_text(config),
        fixed=text.model_type in FIXED_LENGTH,
        windows=windows,
    )
    return TextNetwork(model, part, tokens, head, wanted.words)


def _prepared(sentence: SentenceFormat, tokenizer: Any, prompt: str) -> SentenceHead:
    """Has a tokenizer do what the files say; gives what comes behind the transformer."""
    if sentence.lowers:
        lower(tokenizer)
    if sentence.longest is not None:
        tokenizer.model_max_length = sentence.longest
    return sentence.head(prompt_length(tokenizer, prompt))


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


def averaged_rows(values: Tensor, rows: Rows) -> Tensor:
    """The mean of the windows of each text, weighted by their tokens, `(texts, D)`."""
    owners = torch.tensor(rows.owners, device=values.device)
    weights = torch.tensor(rows.weights, device=values.device, dtype=values.dtype)
    count = rows.owners[-1] + 1
    sums = values.new_zeros(count, values.shape[1])
    total = values.new_zeros(count).index_add_(0, owners, weights)
    return sums.index_add_(0, owners, values * weights[:, None]) / total[:, None]


def _checked(sample: Any) -> Any:
    if is_text(sample):
        return sample
    raise TypeError(f"this model reads text, the data gives {type(sample).__name__}")
