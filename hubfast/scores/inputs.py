"""Checks and conversions of what users hand to a score: tensors or NumPy arrays, any dtype."""

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

Task = Literal["classification", "multilabel", "regression"]


def as_features(
    features: Any, name: str = "features", width: int | None = None, *, finite: bool = True
) -> Tensor:
    """`features` as a 2-D float tensor `(n, D)`, dtype and device kept; `finite` is checked.

    Raises:
        TypeError: Not an array of real numbers.
        ValueError: Not 2-D, empty, of another width, or with NaN or inf in it.
    """
    x = as_tensor(features, name)
    if x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got {x.dtype}")
    if not x.is_floating_point():
        x = x.double()
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must be (samples, width), both > 0, got {tuple(x.shape)}")
    if width is not None and x.shape[1] != width:
        raise ValueError(f"{name} must have width {width}, got {x.shape[1]}")
    if finite:
        check_finite(x, name)
    return x


def as_targets(targets: Any, count: int, task: Task | None = None) -> tuple[Tensor, Task]:
    """`targets` as a tensor, and the task they pose.

    Without `task`: integers or booleans in one dimension are classes, in two multi-label 0/1
    columns; floats are regression.

    Returns:
        Classification: `(n,)` int64. Else `(n, C)` float64.

    Raises:
        TypeError: Strings or objects.
        ValueError: Wrong shape or length, NaN or inf, an unknown task, values that do not fit it.
    """
    y = as_tensor(targets, "targets")
    if task is None:
        discrete = not (y.is_floating_point() or y.is_complex())
        task = "regression" if not discrete else "classification" if y.ndim == 1 else "multilabel"
    if task not in get_args(Task):
        raise ValueError(f"task must be one of {get_args(Task)}, got {task!r}")
    dimensions = (1,) if task == "classification" else (1, 2)
    if y.ndim not in dimensions or len(y) != count:
        shape = f"({count},)" if task == "classification" else f"({count},) or ({count}, C)"
        raise ValueError(f"targets for {task} must be {shape}, got {tuple(y.shape)}")
    if y.ndim == 2 and not y.shape[1]:
        raise ValueError(f"targets for {task} must have a column, got {tuple(y.shape)}")
    check_finite(y, "targets")
    if task == "classification":
        if y.is_floating_point() and bool((y != y.round()).any()):
            raise ValueError("targets for classification must be whole numbers, got fractions")
        return y.long(), task
    columns = (y if y.ndim == 2 else y[:, None]).double()
    if task == "multilabel" and bool(((columns != 0) & (columns != 1)).any()):
        raise ValueError("targets for multilabel must be 0 or 1")
    return columns, task


def like(result: Tensor, given: Any) -> Any:
    """`result` as the kind of array that the user gave."""
    return result if isinstance(given, Tensor) else result.cpu().numpy()


def as_tensor(x: Any, name: str) -> Tensor:
    """`x` as a dense tensor: a tensor's own data, or that of an array or a list of numbers.

    Raises:
        TypeError: It holds anything but numbers, or none at all; names the argument.
        ValueError: It is a list of rows of several lengths.
    """
    if isinstance(x, Tensor):
        return _dense(x.detach(), name)
    try:
        array = np.asarray(x)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{name} must be one array, rows of one length: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be numeric, got dtype {array.dtype}; "
            "for strings take np.unique(values, return_inverse=True)[1]"
        )
    if array.dtype == np.longdouble or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))


def _dense(x: Tensor, name: str) -> Tensor:
    kinds = {"meta": x.is_meta, "nested": x.is_nested, "quantized": x.is_quantized}
    if odd := [kind for kind, so in kinds.items() if so]:
        raise TypeError(f"{name} must be a dense tensor that holds numbers, got a {odd[0]} one")
    if x.is_inference() and not torch.is_inference_mode_enabled():
        x = x.clone()  # fit for gradients, which some scores take
    return x if x.layout == torch.strided else x.to_dense()


def check_finite(x: Tensor, name: str) -> None:
    """Refuses NaN and inf.

    Raises:
        ValueError: There are some; names the argument, how many, and where the first is.
    """
    if not x.is_floating_point() or bool(torch.isfinite(x.sum(dtype=torch.float64))):
        return  # a sum is finite only if every entry is; checked entry by entry when it is not
    bad = ~torch.isfinite(x)
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got {int(bad.sum())} NaN or inf, first at {first}"
        )
