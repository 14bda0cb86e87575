"""Tuned models of texts on disk: plain folders of transformers, with a card."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from hubfast.tuning.adapter import FOLDER
from hubfast.tuning.card import model_card
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.methods.ensemble import Ensemble
from hubfast.tuning.plain_files import save_plain
from hubfast.tuning.text_model import TextModel
from hubfast.tuning.text_usage import text_usage
from hubfast.utils.documents import write_json
from hubfast.utils.files import write_text


def text_members(module: nn.Module) -> dict[str, TextModel]:
    """The models that a tuned module of texts runs, by the sub-folder that each is saved in.

    The name of a module that runs one model is empty: the folder itself.
    """
    if isinstance(module, Ensemble):
        found = {f"member_{k}": member for k, member in enumerate(module.members, 1)}
    else:
        found = {"": getattr(module, "deployed", module)}
    return {name: model for name, model in found.items() if isinstance(model, TextModel)}


def save_texts(
    folder: Path, module: nn.Module, labels: TargetEncoder, record: Mapping[str, Any]
) -> None:
    """Writes a folder that `AutoModelForSequenceClassification.from_pretrained` loads.

    - `config.json`, `model.safetensors`: the model, with the names of its outputs.
    - `tokenizer.json` and what belongs to it: the tokenizer, which pads and cuts as in training.
    - `labels.json`: task and classes; `TargetEncoder.from_dict` reads it.
    - `README.md`: the model card.

    - `adapter`: of LoRA, the folder as peft writes it; the model above has it merged.

    An ensemble has a folder for each member inside.

    Args:
        folder: Made if it is not there.
        module: What was tuned; see `text_members`.
        labels: What its outputs stand for.
        record: Plain values of the tuned model, as `Tuned.as_dict` gives them.

    Raises:
        OSError: The folder cannot be written.
    """
    members = text_members(module)
    for name, model in members.items():
        plain: Any = model.export().cpu()
        save_plain(folder / name, plain.save_pretrained, model.tokenizer.save_pretrained)
        if model.adapter is not None:
            write = partial(model.adapter.write, plain=plain, task="SEQ_CLS")
            save_plain(folder / name / FOLDER, write)
    names = tuple(name for name in members if name)
    full = any(member.full for member in members.values())
    write_json(folder / "labels.json", labels.as_dict())
    pairs = any(member.reads_pairs for member in members.values())
    usage = text_usage(labels.task, names, full=full, pairs=pairs)
    write_text(folder / "README.md", model_card(record, usage))
