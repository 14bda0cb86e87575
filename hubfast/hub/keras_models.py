"""Keras 3 models (.keras, .h5), on whichever backend Keras runs; torch suffices."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import log_probabilities, pooled
from hubfast.hub.preprocessing import advice, image_transform, transform_of_file
from hubfast.optional import require

WITHIN = {"Rescaling", "Normalization"}  # layers that prepare pixels
RAW = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}  # gives pixels in 0..255


def load(path: str | Path, loading: Loading) -> Network:
    """A saved image model with one input.

    If it prepares its pixels itself, by a Rescaling or Normalization layer, it gets them in
    0..255, resized to its input; else its preprocessing must be given, see
    `hubfast.hub.preprocessing`. The features of a functional or sequential model are what enters
    its last Dense layer; of another, its output.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: No such file, no Keras, or another kind
            of model. Keras itself refuses code in an untrusted file (`safe_mode`).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Keras model not found: {path}")
    _prefer_torch()
    keras = require("keras", "keras", f"keras:{path}")
    model = keras.saving.load_model(path, compile=False, safe_mode=not loading.trust)
    shapes = [tuple(value.shape) for value in model.inputs or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(f"{path} must take one input of images, got {shapes}")
    last = keras.config.image_data_format() == "channels_last"
    height, width = shapes[0][1:3] if last else shapes[0][2:]
    size = (height, width) if height and width else None
    inside = any(type(layer).__name__ in WITHIN for layer in _layers(model))
    raw = inside and size is not None and loading.preprocessing is None
    transform = (
        image_transform(RAW, size)
        if raw
        else transform_of_file(path, loading.preprocessing, None, size)
    )
    run = _Keras(*with_features(keras, model), channels_last=last)
    return Network(run, transform, count=model.count_params(), advice=advice(path))


def _prefer_torch() -> None:
    """Keras reads its backend once, at its import; its default is TensorFlow."""
    settings = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    if "keras" not in sys.modules and not settings.exists():
        os.environ.setdefault("KERAS_BACKEND", "torch")


def with_features(keras: Any, model: Any) -> tuple[Any, str | None]:
    """The model with `[features, output]` as output where a Dense layer gives its output.

    Also the name of the activation that made the output, None where there is no Dense layer.
    """
    layers, activation = keras.layers, "linear"
    for layer in reversed(model.layers):
        if isinstance(layer, layers.Softmax):
            activation = "softmax"
        elif isinstance(layer, layers.Dense | layers.Activation):
            name = layer.activation.__name__
            activation = name if activation == "linear" else activation
        if isinstance(layer, layers.Dense):
            return keras.Model(model.inputs, [layer.input, model.outputs[0]]), activation
        if not isinstance(layer, layers.Activation | layers.Softmax):
            break
    return keras.Model(model.inputs, model.outputs[:1]), None


def _layers(model: Any) -> list[Any]:
    """All layers, those of models within the model, too."""
    found = []
    for layer in model.layers:
        found += [layer, *(_layers(layer) if hasattr(layer, "layers") else [])]
    return found


class _Keras(FeatureModule):
    def __init__(self, model: Any, activation: str | None, *, channels_last: bool):
        super().__init__()
        self.held = (model,)  # in a tuple: torch must not take Keras's layers for its own
        self.activation = activation
        self.channels_last = channels_last

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.channels_last:
            inputs = inputs.permute(0, 2, 3, 1)
        features, *output = map(_tensor, self.held[0](_given(inputs), training=False))
        features = pooled(features.float(), channels_last=self.channels_last)
        if not output or self.activation == "sigmoid":  # of classes that do not exclude each other
            return features, None
        soft = self.activation == "softmax"
        return features, log_probabilities(output[0]) if soft else output[0].float()


def _given(inputs: Tensor) -> Any:
    import keras

    ours = keras.backend.backend() == "torch"
    return keras.ops.convert_to_tensor(inputs if ours else inputs.cpu().numpy())


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
