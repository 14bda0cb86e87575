"""What public ops look at in their arguments: shapes, and which backend may run."""

import torch
from torch import Tensor

from hubfast.ops.backends import choose


def on_device(x: Tensor, **backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends for the device of `x`."""
    return backends.get(x.device.type, ())


def takes_triton(backend: str | None, x: Tensor, fits: bool = True) -> bool:
    """Whether an op's Triton kernel runs; they sum in float32, so float64 takes torch.

    Asked inside the op, where torch.compile does not look.

    Args:
        backend: As given to the op.
        x: Says device and dtype.
        fits: Whether the kernel takes these shapes.
    """
    fast = on_device(x, cuda=("triton",)) if fits and x.dtype != torch.float64 else ()
    return choose(backend, *fast) == "triton"


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
