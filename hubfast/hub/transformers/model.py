"""transformers models, of images and of text, with their own image processor or tokenizer."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from hubfast.data.texts import is_text
from hubfast.hub.errors import one_line
from hubfast.hub.model import Batch, Extraction, Loading, SampleSequence
from hubfast.hub.network import Network
from hubfast.hub.preprocessing import TimmTransform, image_transform, processor_transform
from hubfast.hub.reach import unreachable_host
from hubfast.hub.transformers.features import CLASSIFIERS, ImageReader
from hubfast.hub.transformers.options import TextOptions, split_options
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.sentence import SentenceFormat, modules_file, sentence_format
from hubfast.hub.transformers.text import TextNetwork, prompt_of, text_network
from hubfast.utils.documents import WRITTEN, read_table
from hubfast.utils.extras import require

SHOWN = 3  # weights that an error names
UNKNOWN = (
    "it could not be asked whether this is a sentence-transformers model, with a pooling of its own"
)
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
            yield from self._images.batches(data, options)

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


def load(name: str, loading: Loading) -> TransformersModel:
    """Loads a model by its name on the Hugging Face hub, or from a local folder.

    A classifier's features are what enters its last linear layer. Of other models they are, for
    images, the pooled output if its weights are in the checkpoint, else the mean over patches;
    for text the mean over tokens, at most 512 of them. A sentence-transformers model gives the
    embeddings that it was trained to give.

    Args:
        name: Its name or folder, and after a `?` options of how it reads texts.
        loading: What its user says of it; `arguments` may hold the same options.

    Raises:
        ValueError, TypeError: An option is not known, or its modules are not.
        ModuleNotFoundError: transformers is not installed.
        RuntimeError: There is no such model, it cannot be had, or its checkpoint lacks weights or
            has some of other shapes.
        PermissionError: The model brings code of its own and is not trusted.
    """
    transformers = require("transformers", "transformers", f"hf:{name}")
    texts = TextOptions.of(name, loading.arguments)
    name = split_options(name)[0]
    if not Path(name).is_dir():
        host = unreachable_host(name, ("config.json",))
        if host is not None:
            raise RuntimeError(
                f"{name!r} is neither a folder nor cached, and {host} not reached; "
                "without a network give a local folder: hf:FOLDER"
            )
    elif (file := Path(name, "config.json")).exists():
        read_table(file, WRITTEN)  # transformers' own errors do not say what is wrong with it
    sentence, notes = _sentence(name)
    place: dict[str, Any] = {"trust_remote_code": loading.trust}
    if sentence is not None:
        place["subfolder"] = sentence.folder
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(name, **place)
            if hasattr(config, "mask_ratio"):
                config.mask_ratio = 0.0  # masked autoencoders hide patches at random
            model, info = _auto_class(transformers, config, sentence is None).from_pretrained(
                name,
                **place,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # its own error does not say which; see below
            )
        except (OSError, ValueError) as error:
            if "trust_remote_code" in str(error):
                loading.require_trust(name, "brings code of its own")
            raise RuntimeError(f"{name!r} could not be loaded: {one_line(error)}") from error
    _refuse_other_shapes(name, info["mismatched_keys"])
    missing = sorted(info["missing_keys"])
    if lost := [key for key in missing if "pooler" not in key]:
        weights = len(model.state_dict())
        raise RuntimeError(
            f"the checkpoint of {name!r} lacks weights: {lost[:SHOWN]}, {len(lost)} of {weights}"
        )
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, transformers.PreTrainedConfig):
            config.return_dict = True  # some were saved with a wish for tuples
            config.use_cache = False  # a cache serves texts that go on
    if (prompt := prompt_of(name, texts, sentence)) and sentence is not None:
        notes = (*notes, f"its prompt {prompt!r} comes before each text")
    return TransformersModel(name, model, not missing, loading, texts, sentence, notes)


def _sentence(name: str) -> tuple[SentenceFormat | None, tuple[str, ...]]:
    """What a model's files say if it is of sentence-transformers, and a note if that is unknown."""
    try:
        listed = modules_file(name)
    except OSError:  # its other files are here, and the network is not
        return None, (UNKNOWN,)
    return (None if listed is None else sentence_format(name, listed)), ()


def _refuse_other_shapes(name: str, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    if not mismatched:
        return
    said = [
        f"{key} is {tuple(held)}, {tuple(wanted)} wanted"
        for key, held, wanted in sorted(mismatched)[:SHOWN]
    ]
    raise RuntimeError(
        f"the checkpoint of {name!r} does not fit its config.json: weights of other shapes, "
        f"{len(mismatched)}: {'; '.join(said)}"
    )


def _auto_class(transformers: Any, config: Any, classifies: bool) -> Any:
    """The class of transformers that loads what a checkpoint was saved from.

    Args:
        transformers: The package.
        config: Configuration of the model.
        classifies: Whether a classifier is loaded as such; its pooling and no more is used if not.
    """
    for architecture in config.architectures or ():
        for kind in CLASSIFIERS if classifies else ():
            auto = getattr(transformers, f"AutoModel{kind}")
            if kind in architecture and _knows(auto, config):
                return auto
        if architecture.endswith("EncoderModel") and _knows(
            transformers.AutoModelForTextEncoding, config
        ):
            return transformers.AutoModelForTextEncoding
    return transformers.AutoModel


def _knows(auto: Any, config: Any) -> bool:
    """Whether `auto` loads models of that configuration, by itself or by a checkpoint's code."""
    remote = getattr(config, "auto_map", None) or {}
    return type(config) in auto._model_mapping or auto.__name__ in remote


def _reads_video(model_type: str) -> bool:
    from transformers.models.auto import modeling_auto  # slow to import

    return model_type in modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES
