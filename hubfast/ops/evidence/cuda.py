"""Calls the CUDA core `hubfast/_cuda.so` (csrc/*.cu) on tensors, by address, on torch's stream.

The core knows neither Python nor torch: ctypes loads it, where it was chosen.
"""

import ctypes
import functools
import warnings
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_double, c_int, c_void_p
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast.ops import reference
from hubfast.ops.reference import EvidenceMaximum

PATH = Path(__file__).with_name("_cuda.so")
MODELS = 64  # a launch; kModels of csrc/cuda_evidence.hpp


class Settings(ctypes.Structure):
    """`hubfast::search::Settings` of csrc/evidence_search.hpp."""

    _fields_ = (
        *((name, c_double) for name in ("grid_step", "curvature", "flat")),
        *((name, c_double) for name in ("t_floor", "t_ceiling", "tolerance")),
        ("max_steps", c_int),
    )


class Model(ctypes.Structure):
    """`hubfast::Model` of csrc/cuda_evidence.hpp."""

    _fields_ = (
        *((name, c_void_p) for name in ("eigenvalues", "energy", "residual")),
        ("count", c_double),
        ("k", c_int),
        ("end", c_int),  # pairs up to and with this model's
    )


class Models(ctypes.Structure):
    """`hubfast::Models` of csrc/cuda_evidence.hpp."""

    _fields_ = (("entries", Model * MODELS), ("used", c_int))


@functools.cache
def library() -> ctypes.CDLL:
    """The core.

    Raises:
        ModuleNotFoundError: It was not built.
        OSError: It was, and cannot be loaded.
    """
    if not PATH.exists():
        raise ModuleNotFoundError(f"the CUDA core was not built (no {PATH.name} beside hubfast)")
    core = ctypes.CDLL(str(PATH))
    pointers = (POINTER(Models), POINTER(Settings), c_int, c_void_p, c_void_p, c_void_p)
    core.hubfast_evidence.argtypes = (c_int, *pointers)
    core.hubfast_cuda_error.argtypes = (c_int,)
    core.hubfast_cuda_error.restype = c_char_p
    core.hubfast_cuda_architectures.restype = c_char_p
    return core


def architectures() -> list[str]:
    """What the core was compiled for, as in ["sm_80", "sm_90"]."""
    listed = library().hubfast_cuda_architectures().decode()
    return [f"sm_{int(number) // 10}" for number in listed.split(",")]


class Problem(NamedTuple):
    """A model's arguments of `functional.evidence`, all on one CUDA device, float64."""

    eigenvalues: Tensor  # (k,)
    energy: Tensor  # (k, C)
    residual: Tensor  # (C,)
    samples: int


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


def evidence(problems: Sequence[Problem]) -> tuple[list[EvidenceMaximum], list[Tensor]]:
    """`reference.evidence` of several models, every (model, class) pair a block of one launch.

    Up to MODELS models a launch; out of memory halves that, with a warning.

    Returns:
        Each model's maximum, and where its search did not converge, `(C,)` int32: for the caller
        to look at when it next waits for the GPU.

    Raises:
        torch.OutOfMemoryError: One model alone does not fit.
    """
    found: list[tuple[EvidenceMaximum, Tensor]] = []
    size = MODELS
    while len(found) < len(problems):
        try:
            found += _launch(problems[len(found) : len(found) + size])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            warnings.warn(f"GPU out of memory: {size} models in a launch", stacklevel=2)
    return [maximum for maximum, _ in found], [missed for _, missed in found]


def search(problem: Problem) -> EvidenceMaximum:
    """`evidence` of one model; waits for the GPU.

    Raises:
        RuntimeError: A column did not converge.
    """
    (maximum,), (missed,) = evidence([problem])
    if failed := int(missed.sum()):
        raise RuntimeError(f"the evidence search did not converge for {failed} columns")
    # An op's outputs may not share memory.
    return EvidenceMaximum(*(x.clone() for x in maximum))


def _launch(problems: Sequence[Problem]) -> list[tuple[EvidenceMaximum, Tensor]]:
    device = problems[0].energy.device
    # By name until the launch: what a temporary held could be given to another tensor.
    kept = [
        (p.eigenvalues.contiguous(), p.energy.T.contiguous(), p.residual.contiguous())
        for p in problems
    ]
    columns = [p.energy.shape[1] for p in problems]
    models, end = Models(used=len(problems)), 0
    for i, (problem, tensors) in enumerate(zip(problems, kept, strict=True)):
        end += columns[i]
        addresses = (x.data_ptr() for x in tensors)
        models.entries[i] = Model(*addresses, problem.samples, len(problem.eigenvalues), end)
    out = torch.empty(3, end, dtype=torch.float64, device=device)
    missed = torch.empty(end, dtype=torch.int32, device=device)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        where = (end, out.data_ptr(), missed.data_ptr(), stream)
        error = library().hubfast_evidence(device.index, models, Settings(*settings()), *where)
    if error:
        raise RuntimeError(f"the CUDA core failed: {library().hubfast_cuda_error(error).decode()}")
    pairs = zip(out.split(columns, 1), missed.split(columns), strict=True)
    return [(EvidenceMaximum(*found.unbind()), failed) for found, failed in pairs]
