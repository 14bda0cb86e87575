"""Keras 3 models (.keras, .h5), on whichever backend Keras runs; torch suffices."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.classifier import Choice, choose, trace
from hubfast.hub.errors import one_line
from hubfast.hub.keras import graph
from hubfast.hub.keras.pixels import KerasPixels, pixels
from hubfast.hub.keras.settings import set_backend
from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import (
    WANTED,
    features_and_logits,
    in_number_type,
    log_probabilities,
    oriented,
)
from hubfast.hub.preprocessing import (
    RAW,
    UNIT,
    Transform,
    advice,
    image_transform,
    transform_of_file,
)
from hubfast.utils.decoding import decoding
from hubfast.utils.extras import require


def load(path: str | Path, loading: Loading) -> Network:
    """Loads a saved image model with one input.

    If the first thing it does is to prepare its pixels, by a Rescaling, a Normalization or
    arithmetic, it gets them in the range that these were made for, 0..255 or 0..1, resized to its
    input; else its preprocessing must be given, see `hubfast.hub.preprocessing`. Its features are
    what enters the layer that makes its classes; without one, its output.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: Keras is not installed.
        ValueError: The model is of another kind, or Keras itself refuses code in an untrusted
            file (`safe_mode`).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Keras model not found: {path}")
    set_backend()
    keras = require("keras", "keras", f"keras:{path}")
    with decoding(path, "cannot be read as a Keras model"):
        model = keras.saving.load_model(path, compile=False, safe_mode=not loading.trust)
    shape, dtype = _images(model, path)
    last = _channels_last(keras, shape, path)
    try:
        flat = graph.unrolled(keras, model, shape, dtype)
    except Exception as error:  # the code of a subclass may do anything
        raise ValueError(
            f"the layers of {path} cannot be followed ({one_line(error)}), so its features "
            "cannot be told from logits: save it as a functional model"
        ) from error
    steps = (graph.step_of, graph.one_place)
    traces = [trace(tensor, *steps) for tensor in flat.outputs]
    choice = choose(traces, graph.before, graph.title, path)
    height, width = shape[1:3] if last else shape[2:]
    told = pixels(flat)
    size = (height, width) if height and width else told.size
    raw = dtype == "uint8" and told.top is None
    transform = _transform(path, loading, told._replace(top=255) if raw else told, size)
    why = f" ({told.why} does not tell whether pixels are in 0..1 or in 0..255)" if told.why else ""
    return Network(
        _Keras(keras, flat, choice, channels_last=last, dtype=dtype, path=path),
        transform,
        count=model.count_params(),
        advice=advice(path) + why,
        notes=choice.notes,
    )


def _images(model: Any, path: Path) -> tuple[tuple[int | None, ...], str]:
    """Shape and number type of the input.

    Raises:
        ValueError: There are several, or it is no batch of images.
    """
    inputs = getattr(model, "inputs", None)
    shapes = [tuple(value.shape) for value in inputs or ()]
    if not inputs:  # a subclass keeps what it was built for
        built = (model.get_build_config() or {}).get("input_shape")
        shapes = [tuple(built)] if isinstance(built, list | tuple) else []
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(f"{path} must take {WANTED}, got {shapes}")
    return shapes[0], str(inputs[0].dtype) if inputs else "float32"


def _channels_last(keras: Any, shape: tuple[int | None, ...], path: Path) -> bool:
    """Whether channels are last, by the size of the axes, or, if these are open, by Keras' setting.

    Raises:
        ValueError: No axis is that of three channels.
    """
    if 3 in (shape[1], shape[3]):
        return shape[3] == 3
    if None in (shape[1], shape[3]):
        return bool(keras.config.image_data_format() == "channels_last")
    raise ValueError(f"{path} must take {WANTED}, got {shape}")


def _transform(
    path: Path, loading: Loading, told: KerasPixels, size: tuple[int, int] | None
) -> Transform | None:
    if told.top is not None and size is not None and loading.preprocessing is None:
        return image_transform(RAW if told.top == 255 else UNIT, size)
    return transform_of_file(path, loading.preprocessing, None, size)


class _Keras(FeatureModule):
    def __init__(
        self,
        keras: Any,
        model: Any,
        choice: Choice,
        *,
        channels_last: bool,
        dtype: str,
        path: Path,
    ):
        super().__init__()
        head = choice.head
        wanted = [choice.output]
        if head is not None:
            wanted = [head.features, *([] if head.logits is None else [head.logits])]
        # In a tuple, so that torch does not register its layers.
        self.held = (keras.Model(model.inputs, wanted),)
        self.soft = head is not None and head.soft
        self.axis = (-1 if channels_last else 1) if head is None else head.channels
        self.unseen = str(path) if head is None else None
        self.channels_last, self.dtype = channels_last, getattr(torch, dtype)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        images = oriented(in_number_type(inputs, self.dtype), channels_last=self.channels_last)
        result = self.held[0](_given(images), training=False)
        outputs = [_tensor(out) for out in (result if isinstance(result, list) else [result])]
        features, logits = features_and_logits(outputs, len(inputs), self.axis, self.unseen)
        return features, log_probabilities(logits) if self.soft and logits is not None else logits


def _given(inputs: Tensor) -> Any:
    import keras

    ours = keras.backend.backend() == "torch"
    return keras.ops.convert_to_tensor(inputs if ours else inputs.cpu().numpy())


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
