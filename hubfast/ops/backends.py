"""Which implementation of an op runs: the one place that picks."""

import functools
import importlib
import os

_MODULES = {
    "torch": "torch",
    "scipy": "scipy",
    "native": "hubfast._native",
    "cuda": "hubfast.ops.evidence.cuda",
    "triton": "triton",
    "cusolver": "hubfast.ops.linalg.cusolver",
}


@functools.cache
def missing(name: str) -> str | None:
    """Why backend `name` cannot run here, or None if it can; a broken one still raises."""
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
            the environment variable `HUBFAST_BACKEND`, which restricts only ops that have it.
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
            return next(name for name in supported if missing(name) is None)
    if requested not in supported or missing(requested) is not None:
        usable = [name for name in supported if missing(name) is None]
        raise ValueError(f"backend must be one of {usable} for this input, got {requested!r}")
    return requested
