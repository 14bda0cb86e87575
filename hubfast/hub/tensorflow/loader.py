"""TensorFlow SavedModels, as TensorFlow Hub gives them: image feature vectors and classifiers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.classifier import Choice, choose, trace
from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import (
    WANTED,
    class_scores,
    features_and_logits,
    in_number_type,
    log_probabilities,
    oriented,
)
from hubfast.hub.preprocessing import RAW, UNIT, advice, image_transform, transform_of_file
from hubfast.hub.tensorflow.graph import SavedGraph
from hubfast.utils.extras import require

WHY = "is a TensorFlow graph, which can read and write files"
SIGNATURES = ("serving_default", "default", "serve", "image_feature_vector")
CLASSES = ("logits", "probabilities")  # names of outputs in TensorFlow Hub's common signatures


def load(path: str | Path, loading: Loading) -> Network:
    """Loads a SavedModel folder with one input of images, `(batch, height, width, 3)`.

    Images are given as TensorFlow Hub's common signature says: RGB in 0..1 (in 0..255 if they are
    uint8), resized to the input; `preprocessing` of a hub file, or a file beside it, says
    otherwise. The features are what enters the layer that makes the classes. Where none is seen
    they are the first output but those named `logits` or `probabilities`, which are the source
    logits.

    Raises:
        FileNotFoundError: There is no such folder.
        PermissionError: The model is not trusted.
        ModuleNotFoundError: TensorFlow is not installed.
        ValueError: The model is of another kind.
    """
    path = Path(path)
    if not (path / "saved_model.pb").exists():
        raise FileNotFoundError(f"SavedModel not found: no saved_model.pb in {path}")
    loading.require_trust(f"tfhub:{path}", WHY)
    tensorflow = require("tensorflow", "tensorflow", f"tfhub:{path}")
    model = tensorflow.saved_model.load(str(path))
    signature = next((model.signatures[n] for n in SIGNATURES if n in model.signatures), None)
    if signature is None:
        raise ValueError(f"{path} must have a signature of {SIGNATURES}, got none of them")
    shape, dtype = _images(signature, path)
    last = shape[3] == 3 or shape[1] != 3
    height, width = shape[1:3] if last else shape[2:]
    size = (height, width) if height and width else None
    transform = transform_of_file(path, loading.preprocessing, None, size)
    if transform is None and size is not None:
        transform = image_transform(RAW if dtype == "uint8" else UNIT, size)
    variables = getattr(model, "variables", None) or signature.variables
    count = sum(int(np.prod(v.shape)) for v in variables)
    graph = SavedGraph(signature)
    choice = _choice(graph, path)
    run = _Saved(graph, choice, channels_last=last, dtype=getattr(torch, dtype), path=path)
    return Network(run, transform, count=count, advice=advice(path), notes=choice.notes)


def _images(signature: Any, path: Path) -> tuple[list[int | None], str]:
    """Shape and number type of the input.

    Raises:
        ValueError: There are several, or it is no batch of images.
    """
    specs = signature.structured_input_signature[1]
    shapes = {name: spec.shape.as_list() if spec.shape.rank else [] for name, spec in specs.items()}
    shape: list[int | None] = next(iter(shapes.values()), [])
    if len(shapes) != 1 or len(shape) != 4 or not {3, None} & {shape[1], shape[3]}:
        raise ValueError(f"{path} must take {WANTED}, got {shapes}")
    return shape, next(iter(specs.values())).dtype.name


def _choice(graph: SavedGraph, path: Path) -> Choice:
    traces = [trace(name, graph.step_of, graph.one_place) for name in graph.outputs]
    if all(walk.head is None for walk in traces):
        others = [walk for walk in traces if graph.outputs[walk.output] not in CLASSES]
        traces = others or traces
    return choose(traces, graph.before, lambda name: graph.outputs.get(name, name), path)


class _Saved(FeatureModule):
    def __init__(
        self,
        graph: SavedGraph,
        choice: Choice,
        *,
        channels_last: bool,
        dtype: torch.dtype,
        path: Path,
    ):
        super().__init__()
        head, named = choice.head, {name: tensor for tensor, name in graph.outputs.items()}
        self.name = next((name for name in CLASSES if name in named), "")
        if head is None:
            classes, self.axis = named.get(self.name), -1 if channels_last else 1
            wanted = [choice.output]
        else:
            classes, self.axis, self.name = head.logits, head.channels, ""
            wanted = [head.features]
        wanted += [] if classes is None else [classes]
        self.function = graph.runner(wanted)
        self.unseen = str(path) if head is None else None
        self.channels_last, self.dtype = channels_last, dtype

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        import tensorflow

        images = oriented(in_number_type(inputs, self.dtype), channels_last=self.channels_last)
        outputs = self.function(tensorflow.constant(images.cpu().numpy()))
        arrays = [torch.from_numpy(np.array(value)) for value in outputs]
        features, logits = features_and_logits(arrays, len(inputs), self.axis, self.unseen)
        if self.unseen is not None and len(arrays) > 1:  # the logits are told by their name alone
            logits = class_scores(arrays[1], len(inputs))
        soft = self.name == "probabilities" and logits is not None
        return features, log_probabilities(logits) if soft and logits is not None else logits
