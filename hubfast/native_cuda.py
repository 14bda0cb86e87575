"""Calls the CUDA kernels `hubfast._cuda` (csrc/*.cu) on tensors, by address, on torch's stream.

The extension is optional, so it is imported only where it was chosen.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hubfast import reference
from hubfast.reference import EvidenceMaximum


class Problem(NamedTuple):
    """A model's arguments of `functional.evidence`, all on one CUDA device, float64."""

    eigenvalues: Tensor  # (k,)
    energy: Tensor  # (k, C)
    residual: Tensor  # (C,)
    samples: int


def settings() -> tuple[float, float, float, float, float, float, int]:
    """Constants of the search, in the order that csrc/cuda_bindings.cc takes them."""
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

    Returns:
        Each model's maximum, and where its search did not converge, `(C,)` int32: for the caller
        to look at when it next waits for the GPU.
    """
    import hubfast._cuda as core

    maxima: list[EvidenceMaximum] = []
    missed: list[Tensor] = []
    for start in range(0, len(problems), core.MODELS):
        for maximum, where in _launch(problems[start : start + core.MODELS]):
            maxima.append(maximum)
            missed.append(where)
    return maxima, missed


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


def _launch(problems: Sequence[Problem]) -> Iterator[tuple[EvidenceMaximum, Tensor]]:
    import hubfast._cuda as core

    device = problems[0].energy.device
    # By name until the launch: what a temporary held could be given to another tensor.
    kept = [
        (p.eigenvalues.contiguous(), p.energy.T.contiguous(), p.residual.contiguous())
        for p in problems
    ]
    entries = [
        (*(x.data_ptr() for x in tensors), float(p.samples), *p.energy.shape)
        for p, tensors in zip(problems, kept, strict=True)
    ]
    columns = [p.energy.shape[1] for p in problems]
    out = torch.empty(3, sum(columns), dtype=torch.float64, device=device)
    missed = torch.empty(sum(columns), dtype=torch.int32, device=device)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        core.evidence(entries, settings(), out.data_ptr(), missed.data_ptr(), stream)
    for found, where in zip(out.split(columns, 1), missed.split(columns), strict=True):
        yield EvidenceMaximum(*found.unbind()), where
