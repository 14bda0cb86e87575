"""Numbers of every type, as the scores take them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# ml_dtypes gives these types to NumPy.
NARROW = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz")


def as_floats(x: Any, what: str) -> Tensor:
    """Gives `x` as a tensor of float32, or of float64 where that holds more of it.

    Args:
        x: A tensor, or an array of any byte order: floats of any width, integers, booleans.
        what: What it is, for messages.

    Raises:
        TypeError: `x` holds complex numbers, Python objects, strings or raw bytes.
    """
    if isinstance(x, Tensor):
        return _of_tensor(x, what)
    array = np.asarray(x)
    if array.dtype.name in NARROW:
        array = array.astype(np.float32)
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf":
        raise TypeError(f"{what} must hold real numbers, got {_kind(array)}")
    native = np.float32 if kind == "f" and width <= 4 else np.float64
    return torch.from_numpy(np.array(array, dtype=native, order="C"))


def _of_tensor(x: Tensor, what: str) -> Tensor:
    x = x.detach()
    if x.is_complex():
        raise TypeError(f"{what} must hold real numbers, got {x.dtype}")
    if x.is_quantized:
        x = x.dequantize()
    if x.layout != torch.strided:
        x = x.to_dense()
    if not x.is_floating_point():
        return x.double()
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _kind(array: np.ndarray) -> str:
    match array.dtype.kind:
        case "O":
            return "Python objects (dtype object); make it one array of numbers"
        case "V" if array.dtype.names:
            return f"fields {list(array.dtype.names)}; save one array of numbers"
        case "V":
            return f"raw bytes ({array.dtype}), as NumPy saves bfloat16; save it as float32"
    return f"dtype {array.dtype}"
