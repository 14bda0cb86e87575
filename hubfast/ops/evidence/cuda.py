"""Calls the CUDA core `hubfast/_cuda.so` (csrc/*.cu) on tensors, by address, on torch's stream.

The core knows neither Python nor torch: ctypes loads it, where it was chosen.
"""

import ctypes
import functools
import warnings
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_double, c_int, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from hubfast.ops.evidence import reference
from hubfast.ops.evidence.reference import EvidenceInputs, EvidenceMaximum

PATH = Path(__file__).parents[2] / "_cuda.so"
MODELS = 64  # of one launch; kModels of csrc/cuda_evidence.hpp


class Settings(ctypes.Structure):
    """`hubfast::search::Settings` of csrc/evidence_search.hpp."""

    _fields_ = (
        *((name, c_double) for name in ("grid_step", "curvature", "flat")),
        *((name, c_double) for name in ("t_floor", "t_ceiling", "tolerance")),
        ("max_steps", c_int),
    )


class ModelStruct(ctypes.Structure):
    """`hubfast::Model` of csrc/cuda_evidence.hpp."""

    _fields_ = (
        *((name, c_void_p) for name in ("eigenvalues", "energy", "residual")),
        ("count", c_double),
        ("k", c_int),
        ("end", c_int),  # pairs up to and with this model's
    )


class Models(ctypes.Structure):
    """`hubfast::Models` of csrc/cuda_evidence.hpp."""

    _fields_ = (("entries", ModelStruct * MODELS), ("used", c_int))


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded core, with prototypes.

    Raises:
        ModuleNotFoundError: The core was not built.
        OSError: The core was built and cannot be loaded.
    """
    if not PATH.exists():
        raise ModuleNotFoundError(f"the CUDA core was not built (no {PATH.name} beside hubfast)")
    core = ctypes.CDLL(str(PATH))
    pointers = (POINTER(Models), POINTER(Settings), c_int, c_void_p, c_void_p, c_void_p)
    core.hubfast_evidence.argtypes = (c_int, *pointers)
    column = (*(c_void_p,) * 4, c_int, c_int, c_double, POINTER(Settings))
    core.hubfast_climb.argtypes = (c_int, *column, *(c_void_p,) * 3)
    core.hubfast_cuda_error.argtypes = (c_int,)
    core.hubfast_cuda_error.restype = c_char_p
    core.hubfast_cuda_architectures.restype = c_char_p
    return core


def architectures() -> list[str]:
    """The architectures that the core was compiled for, such as ["sm_80", "sm_90"]."""
    listed = library().hubfast_cuda_architectures().decode()
    return [f"sm_{int(number) // 10}" for number in listed.split(",")]


def settings() -> tuple[float, float, float, float, float, float, int]:
    """Constants of the search, in the order of `Settings`."""
    return (
        reference.GRID_STEP,
        reference.CURVATURE,
        reference.FLAT,
        reference.T_FLOOR,
        reference.T_CEILING,
        reference.NEWTON_TOLERANCE,
        reference.NEWTON_STEPS,
    )


def evidence(inputs: Sequence[EvidenceInputs]) -> tuple[list[EvidenceMaximum], list[Tensor]]:
    """`reference.evidence` of several models: each (model, class) pair is a block of one launch.

    A launch takes up to MODELS models; out of memory halves that, with a warning.

    Returns:
        Each model's maximum, and `(C,)` int32 that is 1 where its search did not converge: the
        caller looks at it when it next waits for the GPU.

    Raises:
        torch.OutOfMemoryError: One model alone does not fit.
    """
    results: list[tuple[EvidenceMaximum, Tensor]] = []
    size = MODELS
    while len(results) < len(inputs):
        try:
            results += _launch(inputs[len(results) : len(results) + size])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            warnings.warn(f"GPU out of memory: {size} models in a launch", stacklevel=2)
    return [maximum for maximum, _ in results], [missed for _, missed in results]


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """`reference.climb` for float64 tensors on a GPU: a column is a block; waits for the GPU.

    Raises:
        RuntimeError: The search did not converge for a column.
    """
    k, columns = energy.shape
    # Held by name until the launch: the memory of a temporary could go to another tensor.
    given = [x.contiguous() for x in (eigenvalues, energy.T, residual, log_t)]
    out, missed = _room(columns, energy.device)
    with torch.cuda.device(energy.device):
        addresses = (x.data_ptr() for x in given)
        how = (k, columns, float(count), Settings(*settings()))
        where = (out.data_ptr(), missed.data_ptr(), torch.cuda.current_stream().cuda_stream)
        _checked(library().hubfast_climb(energy.device.index, *addresses, *how, *where))
    if failed := int(missed.sum()):
        raise RuntimeError(f"the evidence search did not converge for {failed} columns")
    return EvidenceMaximum(*out.unbind())


def _launch(inputs: Sequence[EvidenceInputs]) -> list[tuple[EvidenceMaximum, Tensor]]:
    device = inputs[0].energy.device
    # Held by name until the launch: the memory of a temporary could go to another tensor.
    kept = [
        (p.eigenvalues.contiguous(), p.energy.T.contiguous(), p.residual.contiguous())
        for p in inputs
    ]
    columns = [p.energy.shape[1] for p in inputs]
    models, end = Models(used=len(inputs)), 0
    for i, (model, tensors) in enumerate(zip(inputs, kept, strict=True)):
        end += columns[i]
        addresses = (x.data_ptr() for x in tensors)
        models.entries[i] = ModelStruct(*addresses, model.count, len(model.eigenvalues), end)
    out, missed = _room(end, device)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        where = (end, out.data_ptr(), missed.data_ptr(), stream)
        _checked(library().hubfast_evidence(device.index, models, Settings(*settings()), *where))
    pairs = zip(out.split(columns, 1), missed.split(columns), strict=True)
    return [(EvidenceMaximum(*maximum.unbind()), failed) for maximum, failed in pairs]


def _room(columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Room for value, t and Q of each column, and for whether its search failed."""
    out = torch.empty(3, columns, dtype=torch.float64, device=device)
    return out, torch.empty(columns, dtype=torch.int32, device=device)


def _checked(error: int) -> None:
    if error:
        raise RuntimeError(f"the CUDA core failed: {library().hubfast_cuda_error(error).decode()}")
