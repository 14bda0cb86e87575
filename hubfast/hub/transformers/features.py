"""What a transformers model gives, as features and logits."""

from typing import Any

import torch
from torch import Tensor, nn

from hubfast.hub.network import FeatureModule
from hubfast.hub.outputs import pooled
from hubfast.hub.taps import Layers
from hubfast.hub.transformers.layers import image_layers
from hubfast.hub.transformers.pooling import SentenceHead
from hubfast.hub.transformers.quiet import quiet
from hubfast.nn.heads import linear_calls

Outputs = tuple[Tensor, Tensor | None]
HEADS = 2  # layers that may give the logits; a distilled model has one for each of two tokens
CLASSIFIERS = ("ForImageClassification", "ForSequenceClassification")


class ImageReader(FeatureModule):
    """A transformers model of images.

    Args:
        model: The model.
        has_pooler: Whether the weights of its pooled output are in the checkpoint.
    """

    def __init__(self, model: nn.Module, *, has_pooler: bool):
        super().__init__()
        self.model, self.has_pooler = model, has_pooler
        self.holds_layers = False  # whether its features are to be had from all layers alone

    def layers(self) -> Layers:
        return image_layers(self.model)

    def forward(self, inputs: Tensor) -> Outputs:
        """Gives features and logits of pixels `(b, 3, H, W)`."""
        model: Any = self.model
        pixels = inputs.to(model.dtype)
        with quiet():
            if hasattr(model, "get_image_features"):
                return embedding(model.get_image_features(pixel_values=pixels)), None
            with linear_calls(model, HEADS) as last:
                out = model(pixel_values=pixels, output_hidden_states=self.holds_layers)
        logits = source_logits(model, out)
        ends = [out[key] for key in out if "logits" in key]
        taken = [call.given for call in last if any(call.out is end for end in ends)]
        if taken:
            return torch.stack([given.flatten(1).float() for given in taken]).mean(0), logits
        if classifies(model) and not self.holds_layers:
            self.holds_layers = True
            return self.forward(inputs)
        pooler = out.get("pooler_output") if self.has_pooler else None
        return pooled((last_hidden(out) if pooler is None else pooler).float()), logits


def text_features(
    model: nn.Module,
    part: nn.Module,
    inputs: dict[str, Tensor],
    head: SentenceHead | None = None,
) -> Outputs:
    """Gives features and logits of texts that all have the same number of tokens.

    Args:
        model: The whole model.
        part: That part of it which reads texts, such as the encoder of a translator.
        inputs: Token ids `(b, tokens)` and what else the model takes.
        head: What makes the features of the last hidden states, where the model has that.
    """
    whole: Any = model
    if head is not None:
        return head(last_hidden(part(**inputs)).float(), inputs.get("attention_mask")).float(), None
    if hasattr(model, "get_text_features"):
        return embedding(whole.get_text_features(**inputs)), None
    with linear_calls(part) as last:
        out = part(**inputs)
    logits = source_logits(model, out)
    if out.get("logits") is not None and last:
        features = _before(part, inputs, last[0].given, last[0].out, out["logits"])
        if features is not None:
            return features.float(), logits
    if classifies(model):
        out = part(**inputs, output_hidden_states=True)
    hidden = last_hidden(out).float()
    if "attention_mask" not in inputs or hidden.ndim == 2:
        return pooled(hidden), logits
    mask = inputs["attention_mask"][..., None]  # (b, tokens, 1)
    return (hidden * mask).sum(1) / mask.sum(1), logits


def _before(
    part: nn.Module, inputs: dict[str, Tensor], taken: Tensor, given: Tensor, logits: Tensor
) -> Tensor | None:
    """What enters the last linear layer, at the token whose output the model chooses as its own.

    Args:
        part: The model.
        inputs: What it was given.
        taken: What its last linear layer took, `(b, D)` or `(b, tokens, D)`.
        given: What that layer gave.
        logits: What the model gave, `(b, Cs)`.

    Returns:
        `(b, D)`, or None where the logits are not the layer's output.
    """
    if given is logits:
        return taken.flatten(1)
    if given.ndim != 3 or given.shape[::2] != logits.shape:
        return None
    same = (given == logits[:, None]).all(-1)  # (b, tokens)
    if bool((same.sum(1) == 1).all()):
        return taken[same]
    if not bool(same.any(1).all()):
        return None
    # Two tokens have the same output, so the model is asked again, its layer passing its input.
    classes = logits.shape[1]
    layers = [m for m in part.modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    hook = layers[-1].register_forward_hook(lambda _, args, out: args[0])
    try:
        features: Tensor = part(**inputs).logits
    finally:
        hook.remove()
    return features if features.shape == (len(taken), taken.shape[2]) else None


def classifies(model: nn.Module) -> bool:
    """Whether a model is a classifier of whole images or texts."""
    return any(kind in type(model).__name__ for kind in CLASSIFIERS)


def embedding(out: Any) -> Tensor:
    """What models that embed images and texts in one space give, `(b, D)`."""
    return pooled(out if isinstance(out, Tensor) else out.pooler_output).float()


def last_hidden(out: Any) -> Tensor:
    """`(b, tokens, D)`, or maps `(b, D, H, W)`; of DPR, which has no other, what it pools."""
    hidden = out.get("last_hidden_state")
    for key in ("hidden_states", "feature_maps"):
        if hidden is None and out.get(key):
            hidden = out[key][-1]
    if hidden is None:
        hidden = out.get("pooler_output")
    if not isinstance(hidden, Tensor):
        raise TypeError(f"the model gives {[*out]}, none of which is a hidden state")
    return hidden


def source_logits(model: Any, out: Any) -> Tensor | None:
    """Logits of two or more classes that exclude each other; None for labels and for numbers."""
    logits: Tensor | None = out.get("logits")
    kind = getattr(model.config, "problem_type", None)
    if logits is None or kind in ("regression", "multi_label_classification"):
        return None
    return logits.float() if logits.shape[-1] > 1 else None
