"""Folders of sentence-transformers, written file by file around tiny models."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from text_models import FAMILIES

LIBRARY = "sentence_transformers.models"
WIDTH = 16  # of the tiny models


def sentence_folder(
    folder: Path,
    family: str = "bert",
    *,
    pooling=None,
    steps=(),
    texts=None,
    said=None,
    inner: str = "",
    seed: int = 0,
) -> Path:
    """Saves a model whose pooling and steps are these.

    Args:
        folder: Where it is saved.
        family: A name in `text_models.FAMILIES`.
        pooling: The config.json of its pooling.
        steps: Kind, config and weights of each step behind that.
        texts: Its sentence_bert_config.json.
        said: Its config_sentence_transformers.json.
        inner: The folder of its transformer.
        seed: Of its weights.
    """
    place = folder / inner
    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    FAMILIES[family](place).eval().save_pretrained(place)
    modules = [("Transformer", inner), ("Pooling", "1_Pooling")]
    modules += [(kind, f"{i}_{kind}") for i, (kind, _, _) in enumerate(steps, 2)]
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"{LIBRARY}.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    write(folder / "modules.json", rows)
    write(folder / "1_Pooling" / "config.json", pooling or {"word_embedding_dimension": WIDTH})
    for i, (kind, config, weights) in enumerate(steps, 2):
        if config is not None:
            write(folder / f"{i}_{kind}" / "config.json", config)
        if weights:
            save_file(weights, folder / f"{i}_{kind}" / "model.safetensors")
    if texts is not None:
        write(place / "sentence_bert_config.json", texts)
    if said is not None:
        write(folder / "config_sentence_transformers.json", said)
    return folder


def dense(width: int, out: int, activation: str | None = "torch.nn.modules.activation.Tanh"):
    """A dense step with random weights."""
    config = {"in_features": width, "out_features": out, "bias": True}
    config |= {} if activation is None else {"activation_function": activation}
    weights = {"linear.weight": torch.randn(out, width), "linear.bias": torch.randn(out)}
    return "Dense", config, weights


def layer_norm(width: int):
    """A normalisation step with random weights."""
    weights = {"norm.weight": torch.randn(width), "norm.bias": torch.randn(width)}
    return "LayerNorm", {"dimension": width}, weights


def write(path: Path, content) -> None:
    """Writes JSON, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
