"""transformers models, of images and of text, with their own image processor or tokenizer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubfast.data import TargetData
from hubfast.hub.model import Batch, Extraction, Loading, first_line
from hubfast.hub.network import FeatureModule, Network, last_linear
from hubfast.hub.outputs import pooled
from hubfast.hub.preprocessing import image_transform, processor_transform
from hubfast.hub.reach import unreachable_host
from hubfast.optional import require

MAX_TOKENS = 512
CLASSIFIERS = ("ForImageClassification", "ForSequenceClassification")


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A transformers model; what it reads is told from the data, since some read both."""

    name: str
    module: "_Reader"
    loading: Loading
    imagenet: float | None = None

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def batches(self, data: TargetData, how: Extraction) -> Iterator[Batch]:
        reads_text = isinstance(data[0], str)
        network = self._of_text() if reads_text else self._of_images()
        return network.batches(data, how)

    def _of_text(self) -> Network:
        auto = require("transformers", "transformers", f"hf:{self.name}")
        config: Any = self.module.model.config
        try:
            tokenizer = auto.AutoTokenizer.from_pretrained(
                self.name, trust_remote_code=self.loading.trust
            )
        except (OSError, ValueError) as error:
            raise TypeError(f"{self.name} has no tokenizer, and the data gives text") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
            config.pad_token_id = tokenizer.pad_token_id
        positions = getattr(config, "max_position_embeddings", MAX_TOKENS)
        length = min(tokenizer.model_max_length, positions, MAX_TOKENS)
        tokenize = partial(
            tokenizer, padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        return Network(self.module, collate=_Tokenize(tokenize), reads_text=True)

    def _of_images(self) -> Network:
        if self.loading.preprocessing is not None:
            return Network(self.module, image_transform(self.loading.preprocessing))
        try:
            transform = processor_transform(self.name, self.loading.trust)
        except (OSError, ValueError) as error:
            raise TypeError(
                f"{self.name} has no image processor, and the data gives images"
            ) from error
        return Network(self.module, transform)


def load(name: str, loading: Loading) -> Pretrained:
    """A model by its name on the Hugging Face hub, or a local folder.

    A classifier's features are what enters its last linear layer. Of other models they are, for
    images, the pooled output if its weights are in the checkpoint, else the mean over patches;
    for text the mean over tokens, at most 512 of them.

    Raises:
        ModuleNotFoundError, RuntimeError: transformers is not installed; no such model, it cannot
            be had, or its checkpoint lacks weights.
    """
    transformers = require("transformers", "transformers", f"hf:{name}")
    if not Path(name).is_dir():
        host = unreachable_host(name, ("config.json",))
        if host is not None:
            raise RuntimeError(
                f"{name!r} is neither a folder nor cached, and {host} not reached; "
                "without a network give a local folder: hf:FOLDER"
            )
    with _quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=loading.trust)
            if hasattr(config, "mask_ratio"):
                config.mask_ratio = 0.0  # masked autoencoders hide patches at random
            auto = _auto_class(transformers, config)
            module, info = auto.from_pretrained(
                name,
                config=config,
                trust_remote_code=loading.trust,
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{name!r} could not be loaded: {first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if lost := [key for key in missing if "pooler" not in key]:
        raise RuntimeError(f"the checkpoint of {name!r} lacks weights: {lost[:3]}")
    return Pretrained(name, _Reader(module, has_pooler=not missing), loading)


def _auto_class(transformers: Any, config: Any) -> Any:
    for architecture in config.architectures or ():
        for kind in CLASSIFIERS:
            if kind in architecture:
                return getattr(transformers, f"AutoModel{kind}")
    return transformers.AutoModel


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bar of its own inside a ranking's, and no list of unused heads."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


class _Tokenize:
    """A class, not a closure, because worker processes must be able to receive it."""

    def __init__(self, tokenize: Any):
        self.tokenize = tokenize

    def __call__(self, texts: list[str]) -> dict[str, Tensor]:
        return dict(self.tokenize(texts))


class _Reader(FeatureModule):
    def __init__(self, model: nn.Module, *, has_pooler: bool):
        super().__init__()
        self.model, self.has_pooler = model, has_pooler

    def forward(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """`inputs`: pixels `(b, 3, H, W)`, or what a tokenizer gives for b texts."""
        text = isinstance(inputs, Mapping)
        if (joint := self._joint(inputs, text)) is not None:
            return joint, None
        model: Any = self.model
        if text and getattr(model.config, "is_encoder_decoder", False) and not _classifies(model):
            model = model.get_encoder()
        given = inputs if text else {"pixel_values": inputs}
        with last_linear(model) as last:
            out = model(**given, output_hidden_states=True)
        logits = out.get("logits")
        if logits is not None and last and last[0][1] is logits:
            return last[0][0].flatten(1), logits
        if text:
            mask = inputs["attention_mask"][..., None]  # (b, tokens, 1)
            hidden = _last_hidden(out)
            return (hidden * mask).sum(1) / mask.sum(1).clamp_min(1), logits
        pooler = out.get("pooler_output") if self.has_pooler else None
        return pooled(_last_hidden(out) if pooler is None else pooler), logits

    def _joint(self, inputs: Any, text: bool) -> Tensor | None:
        """Of models that embed images and texts in one space, the embedding."""
        embed = getattr(self.model, "get_text_features" if text else "get_image_features", None)
        if embed is None:
            return None
        out = embed(**inputs) if text else embed(pixel_values=inputs)
        return out if isinstance(out, Tensor) else out.pooler_output


def _classifies(model: nn.Module) -> bool:
    return any(kind in type(model).__name__ for kind in CLASSIFIERS)


def _last_hidden(out: Any) -> Tensor:
    """`(b, tokens, D)`, or maps `(b, D, H, W)`."""
    hidden = out.get("last_hidden_state")
    return out.hidden_states[-1] if hidden is None else hidden
