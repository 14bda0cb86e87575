"""Loading transformers models by name or folder, so that what their files say is honoured."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from hubfast.hub.errors import one_line
from hubfast.hub.model import Loading
from hubfast.hub.prompts import LACKS
from hubfast.hub.reach import unreachable_host
from hubfast.hub.transformers.features import CLASSIFIERS
from hubfast.hub.transformers.model import TransformersModel
from hubfast.hub.transformers.options import TextOptions, split_options
from hubfast.hub.transformers.quiet import quiet
from hubfast.hub.transformers.sentence import SentenceFormat, modules_file, sentence_format
from hubfast.hub.transformers.text import prompt_of
from hubfast.hub.transformers.zero_shot import has_both_towers
from hubfast.utils.documents import WRITTEN, read_table
from hubfast.utils.extras import require

SHOWN = 3  # weights that an error names
UNKNOWN = (
    "it could not be asked whether this is a sentence-transformers model, with a pooling of its own"
)


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
    model, info = _from_checkpoint(transformers, name, loading, sentence)
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
    if loading.prompts is not None and not has_both_towers(model):
        raise TypeError(f"{name} has {LACKS}")
    if prompt := prompt_of(name, texts, sentence):
        notes = (*notes, f"the prompt {prompt!r} comes before each text")
    return TransformersModel(name, model, not missing, loading, texts, sentence, notes)


def _sentence(name: str) -> tuple[SentenceFormat | None, tuple[str, ...]]:
    """What a model's files say if it is of sentence-transformers, and a note if that is unknown."""
    try:
        listed = modules_file(name)
    except OSError:  # its other files are here, and the network is not
        return None, (UNKNOWN,)
    return (None if listed is None else sentence_format(name, listed)), ()


def _from_checkpoint(
    transformers: Any, name: str, loading: Loading, sentence: SentenceFormat | None
) -> tuple[Any, Any]:
    """The model, and what transformers says of its weights.

    Raises:
        RuntimeError: It cannot be had.
        PermissionError: It brings code of its own and is not trusted.
    """
    place: dict[str, Any] = {"trust_remote_code": loading.trust}
    if sentence is not None:
        place["subfolder"] = sentence.folder
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(name, **place)
            if hasattr(config, "mask_ratio"):
                config.mask_ratio = 0.0  # masked autoencoders hide patches at random
            found: tuple[Any, Any] = _auto_class(
                transformers, config, sentence is None
            ).from_pretrained(
                name,
                **place,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # its own error does not say which
            )
        except (OSError, ValueError) as error:
            if "trust_remote_code" in str(error):
                loading.require_trust(name, "brings code of its own")
            raise RuntimeError(f"{name!r} could not be loaded: {one_line(error)}") from error
    return found


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
