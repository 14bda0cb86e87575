"""The images that an ONNX file takes: their size, number type and the place of their channels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.onnx.graph import CHANNELS_FIRST, TO_FIRST, Graph, attribute
from hubfast.hub.outputs import WANTED, in_number_type, oriented

RANK = 4


@dataclass(frozen=True)
class OnnxInput:
    """The one input of an image model."""

    name: str
    batch: int | None  # fixed; None for any
    size: tuple[int, int] | None  # height and width, where they are fixed
    channels_last: bool
    dtype: np.dtype

    def array(self, images: Tensor) -> np.ndarray:
        """Gives a batch as the model takes it.

        Args:
            images: `(b, 3, H, W)`, or already in the model's layout.

        Raises:
            ValueError: The model takes whole numbers, and the images hold others or exceed its
                range.
        """
        dtype: torch.dtype = getattr(torch, self.dtype.name)
        images = in_number_type(images.cpu(), dtype)
        return oriented(images, channels_last=self.channels_last).numpy()


def only_input(graph: Graph, path: Path) -> OnnxInput:
    """Finds the input of images; sizes that it leaves open are written so that any will do.

    Raises:
        ValueError: The model takes something else.
    """
    for value in graph.inputs:
        _free_open_sizes(value)
    shapes = {value.name: _shape(value) for value in graph.inputs}
    found = ", ".join(f"{name} {_written(shape)}" for name, shape in shapes.items())
    if len(shapes) != 1:
        raise ValueError(f"{path} must take {WANTED}, got {len(shapes)} inputs: {found}")
    value = graph.inputs[0]
    anything: list[int | None] = [None] * RANK
    shape = shapes[value.name] or anything
    last = _channels_last(graph, value.name, shape) if len(shape) == RANK else False
    channels = shape[-1 if last else 1] if len(shape) == RANK else 0
    if channels not in (3, None):
        raise ValueError(f"{path} must take {WANTED}, got {found}")
    height, width = shape[1:3] if last else shape[2:]
    size = (height, width) if height and width else None
    return OnnxInput(value.name, shape[0], size, last, _dtype(value, path))


def _free_open_sizes(value: Any) -> None:
    """Leaves sizes of -1 and 0, which some tools write for any, open, as onnxruntime wants."""
    for dim in value.type.tensor_type.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value <= 0:
            dim.ClearField("dim_value")


def _shape(value: Any) -> list[int | None] | None:
    """Sizes of an input, None where any will do; None for all where even their number is open."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]


def _written(shape: list[int | None] | None) -> str:
    if shape is None:
        return "of any shape"
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _channels_last(graph: Graph, name: str, shape: list[int | None]) -> bool:
    """Whether channels are last, by the sizes, or, if these are open, by what takes the images."""
    if 3 in (shape[1], shape[3]):
        return shape[1] != 3
    node = graph.reader(name)
    while node is not None and node.op_type not in CHANNELS_FIRST:
        if node.op_type == "Transpose":
            return bool(attribute(node, "perm", []) == TO_FIRST)
        node = graph.reader(node.output[0])
    return False


def _dtype(value: Any, path: Path) -> np.dtype:
    from onnx import TensorProto, helper

    kind = value.type.tensor_type.elem_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind)) if kind else np.dtype(np.float32)
    if dtype.kind not in "fiu" or dtype == np.int8:
        named = TensorProto.DataType.Name(kind).lower()
        raise ValueError(f"{path} must take float or uint8 images, got {named}")
    return dtype
