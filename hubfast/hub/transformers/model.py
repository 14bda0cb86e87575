"""transformers models, of images and of text, with their own image processor or tokenizer."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from hubfast.data.texts import is_text
from hubfast.hub.model import Batch, Extraction, Loading, SampleSequence
from hubfast.hub.network import Network
from hubfast.hub.preprocessing import TimmTransform, image_transform, processor_transform
from hubfast.hub.prompts import Prompts
from hubfast.hub.transformers.features import ImageReader
from hubfast.hub.transformers.options import TextOptions
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.sentence import SentenceFormat
from hubfast.hub.transformers.text import TextNetwork, text_network
from hubfast.hub.transformers.zero_shot import PromptReader, class_embeddings, logit_scale

SHOWN = 3  # arguments that an error names
# What a model's main input is made of, where that is neither images nor text.
OTHER_INPUTS = {
    **dict.fromkeys(("input_values", "input_features", "spectrogram", "audio_mel"), "audio"),
    "pixel_values_videos": "video",
    "past_values": "time series",
}


@dataclass(eq=False)
class TransformersModel:
    """A transformers model; what it reads is told from the data, since some read both.

    Args:
        name: Its name on the Hugging Face hub, or a folder.
        model: The model.
        has_pooler: Whether the weights of its pooled output are in the checkpoint.
        loading: What its user says of it.
        texts: How it reads texts.
        sentence: What its files say if it is a model of sentence-transformers.
        notes: What its user should know of how it is run.
        imagenet: Published top-1 accuracy on ImageNet, percent.
        tally: How many of the samples that the model was last run over need a word, by that word.
    """

    name: str
    model: nn.Module
    has_pooler: bool
    loading: Loading
    texts: TextOptions = field(default_factory=TextOptions)
    sentence: SentenceFormat | None = None
    notes: tuple[str, ...] = ()
    imagenet: float | None = None
    tally: Mapping[str, int] = field(default_factory=dict)
    _asked: Network | None = field(default=None, init=False, repr=False)

    @property
    def parameters(self) -> int:
        steps = () if self.sentence is None else self.sentence.steps
        return sum(p.numel() for module in (self.model, *steps) for p in module.parameters())

    @property
    def framing(self) -> TimmTransform | None:
        """How its images are resized and cropped, where its user says so."""
        given = self.loading.preprocessing
        transform = None if given is None else image_transform(given)
        return transform if isinstance(transform, TimmTransform) else None

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields features of all of `data`, in order; afterwards `tally` is about these data."""
        self.tally = {}
        if is_text(data[0]):
            self._refuse_other_inputs("text")
            tokens = self._text.tokens
            tokens.counts.clear()
            yield from self._text.batches(data, options)
            self.tally = tokens.tally
        else:
            self._refuse_other_inputs("images")
            if self.loading.prompts is not None and self._asked is None:
                self._asked = self._of_prompts(self.loading.prompts, options)
            yield from (self._asked or self._images).batches(data, options)

    @cached_property
    def _text(self) -> TextNetwork:
        trust = self.loading.trust
        return text_network(self.name, self.model, trust, self.texts, self.sentence)

    @cached_property
    def _images(self) -> Network:
        return self._of_images()

    def _refuse_other_inputs(self, given: str) -> None:
        model: Any = self.model
        if hasattr(model, "get_text_features" if given == "text" else "get_image_features"):
            return
        kind = OTHER_INPUTS.get(model.main_input_name)
        if kind is None and _reads_video(model.config.model_type):
            kind = "video"
        if kind is not None:
            raise TypeError(f"{self.name} reads {kind}, and the data gives {given}")

    def _of_prompts(self, prompts: Prompts, options: Extraction) -> Network:
        """The model of images with logits of prompts, which are embedded once."""
        classes = class_embeddings(self._text, prompts, options)
        images = self._images
        assert isinstance(images.run, ImageReader)
        reader = PromptReader(images.run, classes, logit_scale(self.model))
        return replace(images, run=reader)

    def _of_images(self) -> Network:
        reader = ImageReader(self.model, has_pooler=self.has_pooler)
        if self.loading.preprocessing is not None:
            transform = image_transform(self.loading.preprocessing)
        else:
            try:
                with quiet():
                    transform = processor_transform(self.name, self.loading.trust)
            except (OSError, ValueError) as error:
                raise TypeError(
                    f"{self.name} has no image processor, and the data gives images"
                ) from error
        if not hasattr(self.model, "get_image_features"):
            takes = inspect.signature(self.model.forward).parameters
            if "pixel_values" not in takes:
                raise TypeError(
                    f"{self.name} takes {[*takes][:SHOWN]}, no pixels, and the data gives images"
                )
        return Network(reader, transform)


def _reads_video(model_type: str) -> bool:
    from transformers.models.auto import modeling_auto  # slow to import

    return model_type in modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES
