"""A pre-trained model of texts with a new head, which reads texts by its own tokenizer."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.hub import Source
from hubfast.hub.transformers.classifier import (
    TextClassifier,
    classifier_layer,
    load_text_classifier,
    model_name,
)
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.tokens import Ids
from hubfast.nn.hooks import eval_mode
from hubfast.tuning.headed import HeadedModel
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.pixel_model import describe
from hubfast.tuning.texts import Text, TextBatch

TRIED, MORE = 4, 8  # lengths of texts that padding is tried on, tokens of padding
SAME = 1e-3  # of a text's largest feature: what padding may change it by


class TextModel(HeadedModel):
    """A classifier of transformers whose last linear layer is new.

    `forward(texts)` gives logits `(B, outputs)`; `features(texts)` what that layer sees, `(B, D)`.
    Layers before it that the checkpoint lacks are new as well, as transformers makes them.

    Args:
        classifier: The loaded classifier; it is changed in place.
        labels: What its outputs stand for.
        example: Some texts of the data: run once to find the last layer.
    """

    def __init__(self, classifier: TextClassifier, labels: TargetEncoder, example: TextBatch):
        super().__init__()
        self.classifier = (classifier,)  # in a tuple: what of it is a module is in `model`
        self.rows: dict[Text, Ids] = {}  # tokens of the texts seen so far
        model: Any = classifier.model
        inputs = self._inputs(example)
        self.place, old = classifier_layer(model, inputs)
        self.source_head = (None if f"{self.place}.weight" in classifier.fresh else old,)
        model.set_submodule(self.place, nn.Identity())
        self.model, self.width = model, old.in_features
        self.classifier = (_padded_harmlessly(classifier, [self.rows[text] for text in example]),)
        head = nn.Linear(old.in_features, labels.outputs, bias=old.bias is not None)
        nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", None) or 0.02)
        if head.bias is None:
            self.put_head(head, None, _unit(labels))
            self._start_at_mean(labels, example)
        else:
            nn.init.zeros_(head.bias)
            self.put_head(head, labels.mean, labels.std)
        self.labels = labels

    def features(self, samples: TextBatch) -> Tensor:
        """Texts -> `(B, D)`."""
        device = self.head.weight.device
        inputs = {key: ids.to(device) for key, ids in self._inputs(samples).items()}
        return self.model(**inputs).logits

    def new_parameters(self) -> list[nn.Parameter]:
        """Those of the head, and of the layers before it that the checkpoint lacks."""
        fresh = self.classifier[0].fresh
        before = [p for name, p in self.model.named_parameters() if name in fresh]
        return [*self.head.parameters(), *before]

    @property
    def tally(self) -> Mapping[str, int]:
        """How many of the texts seen so far need a word, by that word."""
        return self.classifier[0].tokens.tally

    @property
    def full(self) -> bool:
        """Whether all texts are padded to `longest` tokens."""
        return self.classifier[0].full

    @property
    def reads_pairs(self) -> bool:
        """Whether a sample is a pair of texts."""
        return any(not isinstance(text, str) for text in self.rows)

    @property
    def longest(self) -> int:
        """Tokens that the model takes."""
        return self.classifier[0].tokens.longest

    @property
    def tokenizer(self) -> Any:
        """A tokenizer that gives whoever loads the saved model the tokens that it was tuned on."""
        found = copy.deepcopy(self.classifier[0].tokens.tokenizer)
        found.padding_side = self.classifier[0].side
        found.model_max_length = self.longest
        found.pad_token = found.convert_ids_to_tokens(self.classifier[0].padding)
        names = self.classifier[0].tokens.names or ()
        found.model_input_names = [name for name in found.model_input_names if name in names]
        return found

    def export(self) -> nn.Module:
        """A copy of the plain classifier, the head in its place, its config naming the outputs."""
        model: Any = copy.deepcopy(self.model)
        model.set_submodule(self.place, self.plain_head())
        describe(model, self.labels)
        return model.eval()

    def _inputs(self, texts: TextBatch) -> dict[str, Tensor]:
        (classifier,) = self.classifier
        new = [text for text in dict.fromkeys(texts) if text not in self.rows]
        if new:
            with quiet():
                self.rows.update(zip(new, classifier.tokens.of(new), strict=True))
        return classifier.padded([self.rows[text] for text in texts])

    @torch.no_grad()
    def _start_at_mean(self, labels: TargetEncoder, example: TextBatch) -> None:
        """Without a bias, the head's weights are what makes a regression start at the mean."""
        if labels.mean is None or self.scale is None:
            return
        with eval_mode(self.model):
            middle = self.features(example).mean(0)
        wanted = labels.mean / self.scale
        self.head.weight.copy_(wanted[:, None] * middle / middle.square().sum().clamp(min=1e-12))


def _padded_harmlessly(classifier: TextClassifier, rows: Sequence[Ids]) -> TextClassifier:
    """The classifier with the padding that leaves a text's features as they are alone.

    That is on the right, or on the left for models that read out the last place. Where both change
    them, as in convolutions over tokens, all texts are padded to one length: the features of a
    text then depend on it alone, too.
    """
    lengths = {len(row["input_ids"]): row for row in rows}
    tried = [lengths[count] for count in sorted(lengths)][:TRIED]
    for side in ("right", "left"):
        found = replace(classifier, side=side)
        if all(_same_when_padded(found, row) for row in tried):
            return found
    return replace(classifier, full=True)


@torch.no_grad()
def _same_when_padded(classifier: TextClassifier, row: Ids) -> bool:
    count = len(row["input_ids"])
    padded = classifier.padded([row], min(count + MORE, classifier.tokens.longest))
    with eval_mode(classifier.model), quiet():
        alone = classifier.model(**classifier.padded([row])).logits
        features = classifier.model(**padded).logits
    return float((features - alone).abs().max()) <= SAME * float(alone.abs().max())


def _unit(labels: TargetEncoder) -> Tensor | None:
    """The unit of regression targets, for a head that cannot hold their mean."""
    if labels.mean is None or labels.std is None:
        return None
    return (labels.mean.square() + labels.std.square()).sqrt()


def text_model(source: Source, labels: TargetEncoder, example: TextBatch) -> TextModel:
    """A fresh copy of a hub's model of texts, to be tuned.

    Args:
        source: A transformers model.
        labels: What its outputs shall stand for.
        example: Some texts of the data.

    Raises:
        TypeError, RuntimeError, PermissionError: See `load_text_classifier`.
    """
    name = model_name(source)
    classifier = load_text_classifier(name, source.loading, labels.outputs)
    return TextModel(classifier, labels, example)
