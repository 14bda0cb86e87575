"""TensorFlow SavedModels, as TensorFlow Hub gives them: image feature vectors and classifiers."""

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

WHY = "is a TensorFlow graph, which can read and write files"
UNIT = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # pixels in 0..1
SIGNATURES = ("serving_default", "default", "serve", "image_feature_vector")


def load(path: str | Path, loading: Loading) -> Network:
    """A SavedModel folder with one input of images, `(batch, height, width, 3)`.

    Images are given as TensorFlow Hub's common signature says: RGB in 0..1, resized to the input;
    `preprocessing` of a hub file, or a file beside it, says otherwise. A signature with one output
    gives features. With outputs named `logits` or `probabilities` these are the source logits,
    and the first other output the features.

    Raises:
        FileNotFoundError, PermissionError, ModuleNotFoundError, ValueError: No such folder, not
            trusted, no TensorFlow, or another kind of model.
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
    specs = signature.structured_input_signature[1]
    shapes = {name: spec.shape.as_list() for name, spec in specs.items()}
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 4:
        raise ValueError(f"{path} must take one input (batch, height, width, 3), got {shapes}")
    name, (_, height, width, _) = next(iter(shapes.items()))
    size = (height, width) if height and width else None
    transform = transform_of_file(path, loading.preprocessing, None, size)
    if transform is None and size is not None:
        transform = image_transform(UNIT, size)
    variables = getattr(model, "variables", None) or signature.variables
    count = sum(int(np.prod(v.shape)) for v in variables)
    return Network(_Saved(model, signature, name), transform, count=count, advice=advice(path))


class _Saved(FeatureModule):
    def __init__(self, model: Any, signature: Any, given: str):
        super().__init__()
        self.model, self.signature, self.given = model, signature, given  # keep: owns variables

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        import tensorflow

        array = np.ascontiguousarray(inputs.permute(0, 2, 3, 1).cpu().numpy())
        found = self.signature(**{self.given: tensorflow.constant(array)})
        outputs = {name: torch.from_numpy(np.array(value)) for name, value in found.items()}
        classes = next((n for n in ("logits", "probabilities") if n in outputs), None)
        first = next((n for n in sorted(outputs) if n != classes), classes)
        features = pooled(outputs[str(first)].float(), channels_last=True)
        if classes == "probabilities":
            return features, log_probabilities(outputs[classes])
        return features, None if classes is None else outputs[classes].float()
