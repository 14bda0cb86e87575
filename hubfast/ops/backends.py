"""Which implementation of an op runs, and what its arguments must be."""

import functools
import importlib
import os

import torch
from torch import Tensor

_MODULES = {
    "torch": "torch",
    "scipy": "scipy",
    "native": "hubfast._native",
    "cuda": "hubfast.ops.evidence.cuda",
    "triton": "triton",
    "cusolver": "hubfast.ops.linalg.cusolver",
}
_REQUIRED = ("torch", "scipy")  # hubfast needs them in any case


@functools.cache
def missing(name: str) -> str | None:
    """Why backend `name` cannot run here, or None if it can; one that is broken raises."""
    try:
        module = importlib.import_module(_MODULES[name])
        if name == "cuda":  # a plain shared library, which Python cannot import
            module.library()
    except ModuleNotFoundError as error:
        return str(error)
    return None


def choose(requested: str | None, *candidates: str) -> str:
    """The backend to run: the requested one, or the first of `candidates` that is installed.

    Args:
        requested: An explicit choice, which is honoured or refused, never replaced. None reads
            the environment variable `HUBFAST_BACKEND`, which binds only ops that have that backend.
        candidates: The op's backends for this device and dtype, best first. `torch` runs
            everywhere and is implied.

    Raises:
        ValueError: The requested backend does not run this op here.
    """
    supported = tuple(dict.fromkeys((*candidates, "torch")))
    if requested is None:
        preferred = os.environ.get("HUBFAST_BACKEND")
        if preferred is not None and preferred not in _MODULES:
            raise ValueError(f"HUBFAST_BACKEND must be one of {list(_MODULES)}, got {preferred!r}")
        if preferred in supported:
            requested = preferred
        else:
            return next(name for name in supported if _usable(name))
    if requested not in supported or not _usable(requested):
        usable = [name for name in supported if _usable(name)]
        raise ValueError(f"backend must be one of {usable} for this input, got {requested!r}")
    return requested


def _usable(name: str) -> bool:
    """Whether the backend can run here. `missing` imports, which torch.compile cannot trace."""
    return name in _REQUIRED or missing(name) is None


def on_device(x: Tensor, **backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends among `backends` for the device of `x`, best first; none for other devices."""
    return backends.get(x.device.type, ())


def takes_triton(backend: str | None, x: Tensor, fits: bool = True) -> bool:
    """Whether an op's Triton kernel runs. Kernels sum in float32, so float64 takes torch.

    Ops ask inside their registered function, where torch.compile does not look.

    Args:
        backend: The backend as given to the op.
        x: An argument whose device and dtype decide.
        fits: Whether the kernel takes these shapes.
    """
    fast = on_device(x, cuda=("triton",)) if fits and x.dtype != torch.float64 else ()
    return choose(backend, *fast) == "triton"


def expect(x: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    """Checks that an argument is float64 and of a shape; None stands for any size.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape.
    """
    if x.dtype != torch.float64:
        raise TypeError(f"{name} must be float64, got {x.dtype}")
    fits = x.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, x.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
