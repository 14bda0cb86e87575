"""What public ops check of their arguments."""

import torch
from torch import Tensor


def on_device(x: Tensor, **backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends for the device of `x`."""
    return backends.get(x.device.type, ())


def expect(x: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    """Checks dtype and shape of an argument; None stands for any size."""
    if x.dtype != torch.float64:
        raise TypeError(f"{name} must be float64, got {x.dtype}")
    fits = x.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, x.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
