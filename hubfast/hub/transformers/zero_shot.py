"""Zero-shot classification: which class's prompts an image's embedding is nearest to.

Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever:
"Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hubfast.data import TargetData
from hubfast.hub.model import Extraction
from hubfast.hub.network import FeatureModule
from hubfast.hub.points import AskedPoints
from hubfast.hub.prompts import Prompts
from hubfast.hub.taps import Layers
from hubfast.hub.transformers.text import TextNetwork

TOWERS = ("get_text_features", "get_image_features")


class PromptReader(FeatureModule):
    """A model of images whose logits are of the classes that prompts name.

    Args:
        reader: Gives the image's embedding `(b, D)`.
        classes: An embedding of each class, of length 1, `(C, D)`.
        scale: What a cosine is multiplied by.
    """

    classes: Tensor

    def __init__(self, reader: FeatureModule, classes: Tensor, scale: float):
        super().__init__()
        self.reader, self.scale = reader, scale
        self.register_buffer("classes", classes, persistent=False)

    def layers(self) -> Layers | None:
        return self.reader.layers()

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the embedding, and logits `(b, C)`, of pixels `(b, 3, H, W)`."""
        features = self.reader(inputs)[0]
        cosines = normalize(features.float(), dim=1) @ self.classes.to(features.device).T
        return features, self.scale * cosines


def has_both_towers(model: nn.Module) -> bool:
    """Whether a model embeds texts and images in one space."""
    return all(hasattr(model, tower) for tower in TOWERS)


def class_embeddings(texts: TextNetwork, prompts: Prompts, options: Extraction) -> Tensor:
    """The embedding of each class, `(C, D)`: the mean over its prompts, each of length 1.

    Args:
        texts: The model as it reads texts.
        prompts: Names and templates.
        options: How the model is run.
    """
    asked = prompts.texts()
    none = torch.zeros(len(asked), dtype=torch.int64, device="cpu")
    written = TargetData("prompts", asked, none, "classification")
    usual = replace(options, points=AskedPoints())  # the embedding, whatever layers are asked for
    found = torch.cat([batch.features for batch in texts.batches(written, usual)])
    each = normalize(found.float(), dim=1).unflatten(0, (len(prompts.names), -1))
    return normalize(each.mean(1), dim=1).clone()


def logit_scale(model: Any) -> float:
    """What the model multiplies cosines by: `exp(logit_scale)`; 1 where it has none."""
    scale = getattr(model, "logit_scale", None)
    return 1.0 if scale is None else float(scale.detach().float().exp())
