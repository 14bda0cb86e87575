"""transformers models with a classifier of as many outputs as a task wants, to be tuned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hubfast.hub.errors import one_line
from hubfast.hub.model import Loading, Source
from hubfast.hub.preprocessing import Transform, image_transform, processor_transform
from hubfast.hub.transformers.options import split_options
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.text import text_network
from hubfast.hub.transformers.tokenizers import load_tokenizer
from hubfast.hub.transformers.tokens import Ids, Tokens
from hubfast.nn.heads import linear_calls, name_of
from hubfast.nn.hooks import eval_mode
from hubfast.utils.extras import require

SHOWN = 3  # weights that an error names
PADDING = ("pad_token_id", "eos_token_id", "unk_token_id", "bos_token_id")


@dataclass(frozen=True)
class TextClassifier:
    """A classifier of texts, loaded.

    Args:
        model: `AutoModelForSequenceClassification`, in float32.
        tokens: Turns texts into what it takes.
        padding: Id of the token that texts are padded with.
        fresh: Names of the parameters that the checkpoint does not have.
        side: Where texts are padded, "right" or "left".
        full: Whether all are padded to as many tokens as the model takes.
    """

    model: nn.Module
    tokens: Tokens
    padding: int
    fresh: frozenset[str]
    side: str = "right"
    full: bool = False

    def padded(self, rows: Sequence[Ids], least: int = 0) -> dict[str, Tensor]:
        """Rows of `Tokens.of`, padded to the longest of them and masked: `(b, tokens)` int64.

        Args:
            rows: Token ids and what else the model takes.
            least: Tokens to pad to at least.
        """
        least = self.tokens.longest if self.full else least
        longest = max(least, *(len(row["input_ids"]) for row in rows))

        def filled(key: str, values: list[int]) -> list[int]:
            rest = [self.padding if key == "input_ids" else 0] * (longest - len(values))
            return rest + values if self.side == "left" else values + rest

        return {
            key: torch.tensor([filled(key, row[key]) for row in rows], device="cpu")
            for key in rows[0]
        }


def load_text_classifier(name: str, loading: Loading, outputs: int) -> TextClassifier:
    """Loads a model of texts as a classifier with so many outputs, and its tokenizer.

    Args:
        name: Its name on the Hugging Face hub, or a folder.
        loading: What its user says of it.
        outputs: Classes, labels or columns.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        RuntimeError: The model cannot be had, or its checkpoint lacks weights.
        TypeError: transformers has no such classifier of this family, or the model takes no
            attention mask, so that texts of several lengths cannot share a batch.
        PermissionError: The model brings code of its own and is not trusted.
    """
    model, fresh = _load("AutoModelForSequenceClassification", name, loading, outputs)
    tokenizer = load_tokenizer(name, loading.trust)
    padding = _padding(model.config, tokenizer)
    for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
        config.pad_token_id = padding
    tokens = text_network(name, model, loading.trust).tokens
    if tokens.names is None or "attention_mask" not in tokens.names:
        raise TypeError(
            f"{name} takes no attention mask, so that texts of several lengths cannot share a "
            "batch: it cannot be tuned"
        )
    return TextClassifier(model, tokens, padding, fresh)


class ImageClassifier(NamedTuple):
    """A classifier of images, loaded."""

    model: nn.Module  # `AutoModelForImageClassification`, in float32
    transform: Transform  # its preprocessing
    fresh: frozenset[str]  # names of the parameters that the checkpoint does not have


def load_image_classifier(name: str, loading: Loading) -> ImageClassifier:
    """Loads a model of images as a classifier of the classes that its config has.

    Raises:
        ModuleNotFoundError, RuntimeError, PermissionError: As `load_text_classifier` does.
        TypeError: transformers has no such classifier of this family, or it has no image processor.
    """
    model, fresh = _load("AutoModelForImageClassification", name, loading, None)
    if loading.preprocessing is not None:
        return ImageClassifier(model, image_transform(loading.preprocessing), fresh)
    try:
        with quiet():
            return ImageClassifier(model, processor_transform(name, loading.trust), fresh)
    except (OSError, ValueError) as error:
        raise TypeError(f"{name} has no image processor, and the data gives images") from error


def model_name(source: Source) -> str:
    """The name or folder of a hub's transformers model, without options such as a prompt."""
    return split_options(str(source.given).removeprefix("hf:"))[0]


def classifier_layer(model: nn.Module, inputs: dict[str, Tensor]) -> tuple[str, nn.Linear]:
    """Name and module of the linear layer that gives the logits, the last that the model calls.

    Raises:
        ValueError: The layer's outputs are not as many as the logits.
    """
    with linear_calls(model) as last, eval_mode(model), torch.no_grad(), quiet():
        logits = model(**inputs).logits
    place = name_of(model, last[0].layer) if last else None
    if not place or last[0].layer.out_features != logits.shape[-1]:
        raise ValueError(f"{type(model).__name__} must end in a linear layer to be tuned")
    return place, last[0].layer


def _load(
    auto: str, name: str, loading: Loading, outputs: int | None
) -> tuple[Any, frozenset[str]]:
    """A model by one of transformers' auto classes, and the names of its fresh parameters."""
    transformers = require("transformers", "transformers", f"hf:{name}")
    options: dict[str, Any] = {} if outputs is None else {"num_labels": outputs}
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(
                name, trust_remote_code=loading.trust, **options
            )
            if outputs is not None:
                config.problem_type = None
            model, info = getattr(transformers, auto).from_pretrained(
                name,
                config=config,
                trust_remote_code=loading.trust,
                dtype=torch.float32,  # training in less loses small steps
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a classifier of other classes
            )
        except (OSError, ValueError) as error:
            if "trust_remote_code" in str(error):
                loading.require_trust(name, "brings code of its own")
            if "Unrecognized configuration class" in str(error):
                kind = auto.removeprefix("AutoModel")
                raise TypeError(
                    f"{name} cannot be tuned: transformers has no {kind} of it"
                ) from error
            raise RuntimeError(f"{name!r} could not be loaded: {one_line(error)}") from error
    model.config.return_dict = True
    model.config.use_cache = False  # a cache serves texts that go on
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    base = f"{model.base_model_prefix}."
    if lost := sorted(key for key in fresh if key.startswith(base) and "pooler" not in key):
        raise RuntimeError(
            f"the checkpoint of {name!r} lacks weights: {lost[:SHOWN]}, {len(lost)} of "
            f"{len(model.state_dict())}"
        )
    return model, frozenset(fresh)


def _padding(config: Any, tokenizer: Any) -> int:
    """The padding that the model was trained with, the tokenizer's, or a token that it has."""
    own = getattr(config.get_text_config(), "pad_token_id", None)
    if isinstance(own, int) and own >= 0:
        return own
    found = (getattr(tokenizer, name, None) for name in PADDING)
    return next((token for token in found if token is not None), 0)
