"""Folders of sentence-transformers: what their files say of a model beside its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubfast.hub.reach import unreachable_host
from hubfast.hub.transformers.files import file_of, joined, table_of, weights_of
from hubfast.hub.transformers.options import TextOptions
from hubfast.hub.transformers.pooling import Residual, SentenceHead, UnitLength
from hubfast.utils.documents import WRITTEN, read_json
from hubfast.utils.names import brief

MODULES = "modules.json"
LIBRARY = "sentence_transformers."
FLAGS = {  # of pooling as files of its earlier releases have it, in the order of what is joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
KNOWN = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")


@dataclass(frozen=True, eq=False)
class SentenceFormat:
    """What the files of a sentence-transformers model say.

    Attributes:
        name: Name of the model, or its folder.
        folder: The folder in it where its transformer is; empty for the model's own.
        modes: How tokens become one vector.
        steps: What comes behind that.
        includes_prompt: Whether the tokens of a prompt are pooled, too.
        longest: Tokens at which it cuts texts; None for what its tokenizer says.
        lowers: Whether it makes letters small before anything else.
        prompts: Its prompts by their names.
        default: Name of the prompt that comes before texts by default; None for none.
    """

    name: str
    folder: str
    modes: tuple[str, ...]
    steps: tuple[nn.Module, ...]
    includes_prompt: bool
    longest: int | None
    lowers: bool
    prompts: Mapping[str, str]
    default: str | None

    def prompt(self, options: TextOptions) -> str:
        """What comes before each text.

        Raises:
            ValueError: It has no prompt of that name.
        """
        if options.prompt_text is not None:
            return options.prompt_text
        wanted = self.default if options.prompt is None else options.prompt
        if wanted is None:
            return ""
        if wanted not in self.prompts:
            raise ValueError(f"{self.name} has no prompt {wanted!r}, there are {[*self.prompts]}")
        return self.prompts[wanted]

    def head(self, skipped: int) -> SentenceHead:
        """What comes behind the transformer, with so many tokens of a prompt at the start."""
        return SentenceHead(self.modes, self.steps, 0 if self.includes_prompt else skipped)


def modules_file(name: str) -> Path | None:
    """The file that lists the modules of a model; None for one not of sentence-transformers.

    Args:
        name: Its name on the Hugging Face hub, or a folder.

    Raises:
        OSError: It is not known whether there is one.
    """
    if not Path(name).is_dir():
        import huggingface_hub  # slow to import

        known = huggingface_hub.try_to_load_from_cache(name, MODULES)
        if known is huggingface_hub._CACHED_NO_EXIST:
            return None
        if unreachable_host(name, (MODULES,)) is not None:
            raise OSError(f"it cannot be asked whether {name} has a file {MODULES}")
    return file_of(name, MODULES)


def sentence_format(name: str, listed: Path) -> SentenceFormat:
    """Reads what a model's files say.

    Args:
        name: Its name on the Hugging Face hub, or a folder.
        listed: The file that lists its modules.

    Raises:
        ValueError: Its modules are of another kind than hubfast knows; the message names them.
    """
    modules = read_json(listed, WRITTEN)
    fine = isinstance(modules, list) and all(
        isinstance(m, dict) and isinstance(m.get("type"), str) for m in modules
    )
    if not fine or not modules:
        raise ValueError(f"{listed} must hold a list of modules, got {brief(modules)}")
    kinds = [_kind(str(module["type"])) for module in modules]
    if unknown := [m["type"] for m, kind in zip(modules, kinds, strict=True) if not kind]:
        raise ValueError(
            f"{name} has modules of sentence-transformers that hubfast does not run: "
            f"{', '.join(unknown)}; it runs {', '.join(KNOWN)}"
        )
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & {*kinds[2:]}:
        raise ValueError(
            f"modules of {name} must be a Transformer, a Pooling and what follows, got {kinds}"
        )
    paths = [str(module.get("path", "")) for module in modules]
    said = table_of(name, "config_sentence_transformers.json")
    texts = table_of(name, joined(paths[0], "sentence_bert_config.json"))
    _check_task(name, texts)
    pooling = table_of(name, joined(paths[1], "config.json"))
    prompts = said.get("prompts") or {}
    return SentenceFormat(
        name=name,
        folder=paths[0],
        modes=_modes(pooling),
        steps=tuple(_step(name, *each) for each in zip(kinds[2:], paths[2:], strict=True)),
        includes_prompt=bool(pooling.get("include_prompt", True)),
        longest=texts.get("max_seq_length"),
        lowers=bool(texts.get("do_lower_case", False)),
        prompts={key: value for key, value in prompts.items() if isinstance(value, str)},
        default=said.get("default_prompt_name"),
    )


def _kind(written: str) -> str:
    """Which of `KNOWN` the type of a module is; empty for none of them."""
    kind = written.rpartition(".")[2]
    return kind if written.startswith(LIBRARY) and kind in KNOWN else ""


def _check_task(name: str, texts: Mapping[str, Any]) -> None:
    """Refuses a transformer that is used for something else than the features of its tokens.

    Raises:
        ValueError: It is.
    """
    task = texts.get("transformer_task", "feature-extraction")
    given = texts.get("module_output_name", "token_embeddings")
    if task != "feature-extraction" or given != "token_embeddings":
        raise ValueError(
            f"the transformer of {name} must give token_embeddings by feature-extraction, "
            f"its sentence_bert_config.json says {given} by {task}"
        )


def _modes(pooling: Mapping[str, Any]) -> tuple[str, ...]:
    modes = pooling.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in FLAGS.items() if pooling.get(flag)]
    modes = [modes] if isinstance(modes, str) else modes
    return tuple(modes) or ("mean",)


def _step(name: str, kind: str, path: str) -> nn.Module:
    """A module behind the pooling, with its weights, as float32."""
    if kind == "Dropout":
        return nn.Identity()
    config = table_of(name, joined(path, "config.json"))
    takes = config.get("module_input_name", "sentence_embedding")
    gives = config.get("module_output_name") or takes
    if not takes == gives == "sentence_embedding":
        raise ValueError(
            f"{kind} of {name} must take and give sentence_embedding, got {takes} and {gives}"
        )
    if kind == "Normalize":
        return UnitLength()
    weights = weights_of(name, path)
    if kind == "LayerNorm":
        norm = nn.LayerNorm(int(config["dimension"]), device="cpu")
        return _filled(norm, _below(weights, "norm."), f"{kind} of {name}")
    return _dense(config, weights, f"{kind} of {name}")


def _dense(config: Mapping[str, Any], weights: Mapping[str, Tensor], what: str) -> nn.Module:
    width = int(config["in_features"]), int(config["out_features"])
    linear = nn.Linear(*width, bias=bool(config.get("bias", True)), device="cpu")
    filled = _filled(linear, _below(weights, "linear."), what)
    layer = nn.Sequential(filled, _activation(config.get("activation_function"), what))
    if not config.get("use_residual", False):
        return layer
    if width[0] == width[1]:
        return Residual(layer, nn.Identity())
    projection = nn.Linear(*width, bias=False, device="cpu")
    return Residual(layer, _filled(projection, _below(weights, "residual."), what))


def _activation(written: str | None, what: str) -> nn.Module:
    """The activation of that name, which must be torch's own."""
    if written is None:
        return nn.Tanh()  # as sentence-transformers has it
    found = getattr(nn, written.rpartition(".")[2], None)
    if not written.startswith("torch.nn.") or not isinstance(found, type):
        raise ValueError(f"the activation of {what} must be one of torch.nn, got {written!r}")
    made: nn.Module = found()
    return made


def _below(weights: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {k.removeprefix(start): x.float() for k, x in weights.items() if k.startswith(start)}


def _filled(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> nn.Module:
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"the weights of {what} do not fit it: {error}") from error
    return module
